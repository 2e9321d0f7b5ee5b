"""Values of the command line that are what they are meant to be before anybody converts them.

Typer (0.29) gives every value of every parameter, whether it was given or not, to an adapter of
pydantic's that it builds for it. Importing pydantic and building them took a quarter of a short
verb's processor time, for texts that stay texts.
"""

from __future__ import annotations

from typing import Any

import typer


def spare(command: Any) -> None:
    """Lets Typer convert only those values of the command that need it.

    Another release of Typer may not ask for what is put here; then this changes nothing.
    """
    for parameter in command.get_params(typer.Context(command)):
        vars(parameter)["_runtime_param"] = _AsGiven()


class _AsGiven:
    """Stands where Typer looks for a parameter's converter; makes way for it when it is needed."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value as the verb gets it."""
        many = param.multiple or param.nargs == -1
        if not (value is None or (many and not value)):
            annotation = param.type_descriptor.annotation
            wanted = (str,) if annotation == list[str] else (annotation,)
            given = value if many else (value,)
            if any(type(each) not in wanted for each in given):
                vars(param)["_runtime_param"] = None
                return param.get_runtime_param().coerce(value, param=param, ctx=ctx)
        return () if many and value is None else value
