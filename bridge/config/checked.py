"""Makes settings of what a file holds, each value by itself, so that what is wrong is named."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo

from bridge.config.models import Check, Model, Read
from bridge.errors import ConfigError
from bridge.yamlfile import Place

M = TypeVar("M", bound=Model)
Shape = Literal["plain", "one", "named", "listed"]


class WrongSetting(ConfigError):
    """The setting at `place` is wrong, or missing."""

    def __init__(self, place: Place, message: str, hint: str = "correct the value") -> None:
        super().__init__(message, hint)
        self.place = place


@cache
def fields(model: type[Model]) -> Mapping[str, FieldInfo]:
    """The settings of a model by name."""
    return {field.name: field for field in msgspec.structs.fields(model)}


def shape(kind: Any) -> tuple[Shape, Any]:
    """What a setting of this type holds: a model, models by name or in a list, or a plain value.

    With the type of that model or plain value.
    """
    only = _bare(kind)
    if get_origin(only) in (Union, UnionType):
        only = _bare(next(each for each in get_args(only) if each is not NoneType))
    inner = get_args(only)
    if get_origin(only) is dict:
        return "named", inner[1]
    if get_origin(only) is tuple and _is_model(inner[0]):
        return "listed", inner[0]
    return ("one", only) if _is_model(only) else ("plain", only)


def read(model: type[M], data: object, place: Place = ()) -> M:
    """The settings at `place`; keys that are unknown are not looked at. Raises WrongSetting."""
    if not isinstance(data, dict):
        raise WrongSetting(place, f"{_name(place)}: there are settings below it, it has no value")
    found = {}
    for name, field in fields(model).items():
        here = (*place, name)
        if name in data:
            found[name] = _value(field.type, data[name], here)
        elif field.required:
            raise WrongSetting(here, f"“{_name(here)}” is missing", "add it")
    return model(**found)


def _value(kind: Any, value: Any, place: Place) -> Any:
    marks = kind.__metadata__ if get_origin(kind) is Annotated else ()
    try:
        for mark in marks:
            if isinstance(mark, Read):
                value = mark.by(value)
        found = _typed(kind, value, place)
        for mark in marks:
            if isinstance(mark, Check):
                mark.by(found)
    except msgspec.ValidationError as error:
        message = str(error).partition(" - at ")[0]
        raise WrongSetting(place, f"{_name(place)}: {message}") from error
    except ValueError as error:
        raise WrongSetting(place, f"{_name(place)}: {error}") from error
    return found


def _typed(kind: Any, value: Any, place: Place) -> Any:
    holds, inner = shape(kind)
    if holds == "one" and not (value is None and NoneType in get_args(_bare(kind))):
        return read(inner, value, place)
    if holds == "named" and isinstance(value, dict):
        return {name: _value(inner, each, (*place, name)) for name, each in value.items()}
    if holds == "listed" and isinstance(value, list):
        return tuple(_value(inner, each, (*place, at)) for at, each in enumerate(value))
    if get_origin(inner) is Literal and isinstance(value, str) and value not in get_args(inner):
        known = ", ".join(filter(None, get_args(inner)))
        raise ValueError(f"“{value}” is none of {known}")
    return msgspec.convert(value, kind, strict=False)


def _bare(kind: Any) -> Any:
    return kind.__origin__ if get_origin(kind) is Annotated else kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Model)


def _name(place: Place) -> str:
    return ".".join(map(str, place))
