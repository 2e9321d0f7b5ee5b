"""Types that a module defines for itself where SQLAlchemy has none that tells the truth."""

from __future__ import annotations

from collections.abc import Collection

_ENUM_LABEL = '''\
class EnumLabel(sa.TypeDecorator[E]):
    """A label of an enum, as a member of its Python enum."""

    impl = sa.String
    cache_ok = True

    def __init__(self, kind: type[E], store: sa.types.TypeEngine[Any]) -> None:
        super().__init__()
        self.kind = kind
        self.store = store

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return self.store

    def process_bind_param(self, value: E | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> E | None:
        return None if value is None else self.kind(value)
'''
_ENUM_LABELS = '''\
class EnumLabels(sa.TypeDecorator[frozenset[E]]):
    """The labels of a set, as members of their Python enum."""

    impl = sa.String
    cache_ok = True

    def __init__(self, kind: type[E], store: sa.types.TypeEngine[Any]) -> None:
        super().__init__()
        self.kind = kind
        self.store = store

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return self.store

    def process_bind_param(self, value: frozenset[E] | None, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        chosen = {self.kind(each) for each in value}
        return [each.value for each in self.kind if each in chosen]

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> frozenset[E] | None:
        return None if value is None else frozenset(map(self.kind, value))
'''
_TIME_LENGTH = '''\
class TimeLength(sa.types.UserDefinedType[dt.timedelta]):
    """TIME as what it is in MySQL: a length of up to 838 hours, which may be negative."""

    cache_ok = True

    def __init__(self, fsp: int = 0) -> None:
        self.fsp = fsp

    def get_col_spec(self, **_: Any) -> str:
        return f"TIME({self.fsp})"

    def bind_processor(self, dialect: sa.Dialect) -> Callable[[dt.timedelta | None], str | None]:
        def process(value: dt.timedelta | None) -> str | None:
            if value is None:
                return None
            minutes, seconds = divmod(abs(value).days * 86400 + abs(value).seconds, 60)
            sign = "-" if value < dt.timedelta() else ""
            clock = f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
            return f"{sign}{clock}.{abs(value).microseconds:06}"

        return process
'''
_BINARY_UUID = '''\
class BinaryUUID(sa.TypeDecorator[UUID]):
    """A UUID in its sixteen bytes."""

    impl = mysql.BINARY(16)
    cache_ok = True

    def process_bind_param(self, value: UUID | None, dialect: sa.Dialect) -> bytes | None:
        return None if value is None else value.bytes

    def process_result_value(self, value: bytes | None, dialect: sa.Dialect) -> UUID | None:
        return None if value is None else UUID(bytes=value)
'''
_NATIVE_UUID = '''\
class NativeUUID(sa.types.UserDefinedType[UUID]):
    """MariaDB's UUID."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "UUID"

    def bind_processor(self, dialect: sa.Dialect) -> Callable[[UUID | None], str | None]:
        return lambda value: None if value is None else str(value)

    def result_processor(
        self, dialect: sa.Dialect, coltype: object
    ) -> Callable[[str | None], UUID | None]:
        return lambda value: None if value is None else UUID(value)
'''
_NETWORK_ADDRESS = '''\
class NetworkAddress(sa.types.UserDefinedType[IPv4Address | IPv6Address]):
    """MariaDB's INET4 or INET6."""

    cache_ok = True

    def __init__(self, version: Literal[4, 6]) -> None:
        self.version = version

    def get_col_spec(self, **_: Any) -> str:
        return f"INET{self.version}"

    def bind_processor(
        self, dialect: sa.Dialect
    ) -> Callable[[IPv4Address | IPv6Address | None], str | None]:
        return lambda value: None if value is None else str(value)

    def result_processor(
        self, dialect: sa.Dialect, coltype: object
    ) -> Callable[[str | None], IPv4Address | IPv6Address | None]:
        kind = IPv4Address if self.version == 4 else IPv6Address
        return lambda value: None if value is None else kind(value)
'''
_TEXTS = {
    "EnumLabel": _ENUM_LABEL,
    "EnumLabels": _ENUM_LABELS,
    "TimeLength": _TIME_LENGTH,
    "BinaryUUID": _BINARY_UUID,
    "NativeUUID": _NATIVE_UUID,
    "NetworkAddress": _NETWORK_ADDRESS,
}


def helpers(wanted: Collection[str]) -> list[str]:
    """The classes of these names, as texts, in an order that is always the same."""
    return [text for name, text in _TEXTS.items() if name in wanted]
