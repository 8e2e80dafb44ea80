"""Wire models of /v1/keys: shapes only. Times are Unix seconds."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, StringConstraints

from auth import NAME
from core.limits import KeyLimits

LIMITS = tuple(limit.name for limit in fields(KeyLimits))

KeyName = Annotated[
    str, StringConstraints(pattern=rf"^{NAME}$"), Field(examples=["alice"], description="For life")
]
Patterns = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=128)]], Field(max_length=100)
]
Rules = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=256)]], Field(max_length=100)
]


class KeyRules(BaseModel):
    """`models` are patterns of model names, none is all. `expires_at` null is never. The limits are
    none where they are null; days and months are UTC's, tokens are those read and written."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    disabled: bool = False
    operator: bool = False
    expires_at: PositiveFloat | None = None
    models: Patterns | None = None
    builtin_tools: bool = True
    allowed_tools: Rules | None = None
    disallowed_tools: Rules | None = None
    requests_per_minute: PositiveInt | None = None
    tokens_per_minute: PositiveInt | None = None
    parallel_requests: PositiveInt | None = None
    usd_per_day: PositiveFloat | None = None
    usd_per_month: PositiveFloat | None = None
    tokens_per_day: PositiveInt | None = None
    tokens_per_month: PositiveInt | None = None


class CreateKey(KeyRules):
    name: KeyName


class ChangeKey(KeyRules):
    pass


class ApiKey(BaseModel):
    """`key_id` is the start of the key's SHA-256, as in the logs. `read_only`: it is in the
    settings. `last_used_at` is when it last asked for a turn."""

    object: Literal["api_key"] = "api_key"
    name: str
    key_id: str | None
    read_only: bool
    created_at: float | None = None
    expires_at: float | None = None
    last_used_at: float | None = None
    disabled: bool = False
    operator: bool = False
    models: list[str] = []
    builtin_tools: bool = True
    allowed_tools: list[str] | None = None
    disallowed_tools: list[str] = []
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    parallel_requests: int | None = None
    usd_per_day: float | None = None
    usd_per_month: float | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None


class CreatedKey(ApiKey):
    """`key` is the secret, which cannot be shown again."""

    key: str


class ApiKeyList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ApiKey]


class ApiKeyDeleted(BaseModel):
    name: str
    object: Literal["api_key.deleted"] = "api_key.deleted"
    deleted: Literal[True] = True
