"""Requests and answers, as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Row = dict[str, Any]
Table = Annotated[
    str, Field(min_length=1, max_length=130, description="As in the source; elsewhere db.table")
]
Key = Annotated[Row, Field(min_length=1, description="All columns of the key, and no others")]
Values = Annotated[Row, Field(description="By the source's column names")]
SomeValues = Annotated[Values, Field(min_length=1)]
Verb = Literal["read", "insert", "update", "delete"]


class Request(BaseModel):
    """No member but the known ones."""

    model_config = ConfigDict(extra="forbid")


class Insert(Request):
    """A new row; fails with 409 where its key is there."""

    do: Literal["insert"]
    table: Table
    values: Values


class Update(Request):
    """Other values for the row of a key; fails with 404 where there is none."""

    do: Literal["update"]
    table: Table
    key: Key
    values: SomeValues


class Upsert(Request):
    """These values for the row of a key, which is made where there is none."""

    do: Literal["upsert"]
    table: Table
    key: Key
    values: Values = {}


class Delete(Request):
    """The row of a key goes; fails with 404 where there is none."""

    do: Literal["delete"]
    table: Table
    key: Key


Operation = Annotated[Insert | Update | Upsert | Delete, Field(discriminator="do")]
VERBS: dict[str, tuple[Verb, ...]] = {
    "insert": ("insert",),
    "update": ("update",),
    "upsert": ("insert", "update"),
    "delete": ("delete",),
}
"""What a caller must be allowed for an operation."""


class Transaction(Request):
    """Operations that happen all or not at all, in this order."""

    operations: list[Operation] = Field(min_length=1)


class Rows(Request):
    """Rows to insert, all or none."""

    rows: list[Values] = Field(min_length=1)


class SomeOf(Request):
    """New values of some columns."""

    values: SomeValues


class AllOf(Request):
    """Values of columns outside the key."""

    values: Values = {}


class Done(BaseModel):
    """What became of one operation, and the key of its row as far as it is known."""

    do: Literal["insert", "update", "upsert", "delete"]
    table: str
    key: Row


class Written(BaseModel):
    """A committed transaction; `after` is for X-Bridge-After of reads that must see it."""

    results: list[Done]
    after: str | None


class Found(BaseModel):
    """A row, and the side that it was read from."""

    table: str
    side: Literal["source", "target"]
    values: Row


class Authority(BaseModel):
    """Who has authority over a group of tables; `epoch` rises with each change."""

    group: str
    epoch: int
    authority: Literal["source", "target", "closed"]
    mode: Literal["cdc", "shadow", "provisional"]
    reads_percent: int


class Health(BaseModel):
    """Whether the service can do its work: 'ok', or what is wrong."""

    status: str
    source: str = "ok"
    target: str = "ok"
    authority: str = "ok"


class ProblemBody(BaseModel):
    """RFC 9457; the last word of `type` is stable."""

    type: str
    title: str
    status: int
    detail: str
    hint: str
    request_id: str
