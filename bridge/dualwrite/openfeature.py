"""The side of reads as an OpenFeature flag (needs ``dbbridge[openfeature]``).

``dbbridge.reads.GROUP`` is 'source' or 'target' for a targeting key, by the rules of
`bridge.dualwrite.reading`: its share is the row's, and what is known is at most a second old.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import (
    FlagNotFoundError,
    GeneralError,
    InvalidContextError,
    TargetingKeyMissingError,
    TypeMismatchError,
)
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata
from sqlalchemy.util import greenlet_spawn

from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.reading import After, Wish
from bridge.errors import BridgeError, ConfigError

PREFIX = "dbbridge.reads."


class ReadsProvider(AbstractProvider):
    """Evaluates the flags of a layer's groups; an attribute ``after`` names a write to be seen.

    Under asyncio with asynchronous engines, the client's asynchronous methods are to be used.
    """

    def __init__(self, dual: DualWrite) -> None:
        super().__init__()
        self._dual = dual

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata("dbbridge")

    def resolve_string_details(
        self,
        flag_key: str,
        default_value: str,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[str]:
        """'source' or 'target'."""
        if not flag_key.startswith(PREFIX):
            raise FlagNotFoundError(f"flags of this provider are called {PREFIX}GROUP")
        wish, group = _wish(evaluation_context), flag_key.removeprefix(PREFIX)
        try:
            side = self._dual.reads_side(group, wish)
        except ConfigError as error:
            raise FlagNotFoundError(f"{error.message}: {error.hint}") from error
        except BridgeError as error:
            raise GeneralError(error.message) from error
        return FlagResolutionDetails(side, reason=Reason.TARGETING_MATCH, variant=side)

    async def resolve_string_details_async(
        self,
        flag_key: str,
        default_value: str,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[str]:
        """The same, while the event loop goes on."""
        asked = (flag_key, default_value, evaluation_context)
        if self._dual.source.dialect.is_async:
            return await greenlet_spawn(self.resolve_string_details, *asked)
        return await asyncio.to_thread(self.resolve_string_details, *asked)

    def _no_string(
        self,
        flag_key: str,
        default_value: object,
        evaluation_context: EvaluationContext | None = None,
    ) -> NoReturn:
        """Raises TypeMismatchError."""
        raise TypeMismatchError("the side of reads is a string")

    resolve_boolean_details = _no_string
    resolve_integer_details = _no_string
    resolve_float_details = _no_string
    resolve_object_details = _no_string


def _wish(context: EvaluationContext | None) -> Wish:
    if context is None or not context.targeting_key:
        raise TargetingKeyMissingError("who reads is to be named, or he would flip between sides")
    after = context.attributes.get("after")
    if after is None:
        return Wish(context.targeting_key)
    try:
        return Wish(context.targeting_key, After.parse(str(after)))
    except ValueError as error:
        raise InvalidContextError(str(error)) from error
