"""What a consumer's client reads, of the partitions that the group gave to it.

Reading begins where the target is, which takes a moment to ask. Until then the client is told to
read none of them. If it were told to begin at an end that it has to ask the broker for, the answer
might come after it was told an offset, and then it would read on from that end, as librdkafka 2.16
did with one partition in six.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from confluent_kafka import Consumer, TopicPartition

from bridge.store.partitions import Place


class Fetching:
    """Tells one client; `given` and `lose` are for the callbacks of its group."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._begun: set[Place] = set()

    def given(self) -> None:
        """The group gave partitions, of which each waits for `begin`."""
        self._consumer.incremental_assign([])

    def begin(self, offsets: Mapping[Place, int]) -> None:
        """Reads the partitions from there on, wherever they were read before."""
        # Not seek(): it fails where the partition has not begun to be fetched.
        again = self._begun.intersection(offsets)
        if again:
            self._consumer.incremental_unassign(_partitions(again))
        self._begun |= offsets.keys()
        self._consumer.incremental_assign([TopicPartition(*at, n) for at, n in offsets.items()])
        # A partition stays paused beyond its assignment.
        self._consumer.resume(_partitions(offsets))

    def lose(self, places: Iterable[Place]) -> None:
        """The group took partitions away, begun or not."""
        gone = self._begun.intersection(places)
        self._begun -= gone
        self._consumer.incremental_unassign(_partitions(gone))

    def pause(self, places: Iterable[Place]) -> None:
        """Reads nothing of these until they begin anew.

        Merely resumed, a partition that had failed (its offset is gone, say) would be read no more,
        and nobody would hear of it: its error went with the messages that were at hand.
        """
        self._consumer.pause(_partitions(places))


def _partitions(places: Iterable[Place]) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic, number in places]
