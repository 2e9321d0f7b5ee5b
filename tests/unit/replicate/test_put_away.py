"""Tables that the end of a cutover puts away keep names that tell them apart."""

from __future__ import annotations

from bridge.names import MYSQL_NAME_CHARACTERS, TableName
from bridge.replicate.ops import put_away, put_away_name


def test_long_names_stay_apart() -> None:
    short = TableName("shop", "purchase")
    assert put_away_name(short) == TableName("shop", "_bridge_old_purchase")
    assert put_away(short).endswith(
        " RENAME TABLE `shop`.`purchase` TO `shop`.`_bridge_old_purchase`"
    )
    long = [TableName("shop", "é" * 60 + end) for end in ("", "a", "b")]
    names = {put_away_name(name).table for name in long}
    assert len(names) == 3 and all(len(name) <= MYSQL_NAME_CHARACTERS for name in names)
