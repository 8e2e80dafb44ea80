"""`/v1/keys`: API keys that are made, changed and revoked while the server runs. For operators."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from fastapi import APIRouter

from auth import Principal as KnownPrincipal
from auth import new_key
from core.builtin_tools import listed, rules, tool_rules
from core.errors import InvalidRequest, KeyExists, KeyNotFound, PermissionDenied
from core.limits import KeyLimits
from models import ErrorBody
from stores.keys import KeyStore, StoredKey
from web.dependencies import Keys, Operator
from web.key_models import (
    LIMITS,
    ApiKey,
    ApiKeyDeleted,
    ApiKeyList,
    ChangeKey,
    CreatedKey,
    CreateKey,
    KeyRules,
)

ERRORS = (400, 401, 403, 404, 409, 429, 503)

router = APIRouter(
    prefix="/v1/keys",
    tags=["keys"],
    responses={status: {"model": ErrorBody} for status in ERRORS},
)


@router.get("", summary="All keys, without their secrets")
async def list_keys(operator: Operator, keys: Keys) -> ApiKeyList:
    """Those of the environment and of API_KEYS_FILE are listed too; they are changed there."""
    fixed = [_fixed(principal) for principal in keys.fixed.principals()]
    stored = [_shown(key) for key in await _store(keys).all()]
    return ApiKeyList(data=[*fixed, *stored])


@router.post("", status_code=201, summary="Make a key; its secret is shown only now")
async def create_key(operator: Operator, keys: Keys, body: CreateKey) -> CreatedKey:
    """The first key of a server that had none must be an operator's: from then on a key is needed
    for everything."""
    if not keys.is_protected and not body.operator:
        raise InvalidRequest("The first key must be an operator's.", param="operator")
    if body.name in keys.fixed.names():
        raise KeyExists(f"There is a key named {body.name} in the settings.", param="name")
    secret = new_key()
    digest = hashlib.sha256(secret.encode()).hexdigest()
    key = _changed(StoredKey(body.name, digest, time.time()), body)
    if not await _store(keys).add(key):
        raise KeyExists(f"There is a key named {body.name} already.", param="name")
    await keys.refresh()
    return CreatedKey(**_shown(key).model_dump(), key=secret)


@router.get("/{name}", summary="One key")
async def get_key(name: str, operator: Operator, keys: Keys) -> ApiKey:
    for principal in keys.fixed.principals():
        if principal.name == name:
            return _fixed(principal)
    return _shown(await _find(_store(keys), name))


@router.patch("/{name}", summary="Change what a key may do, or disable it")
async def change_key(name: str, operator: Operator, keys: Keys, body: ChangeKey) -> ApiKey:
    """Only what the body names changes; null takes a limit away. It holds at once here, and within
    two seconds on other servers."""
    _refuse_fixed(keys, name)
    store = _store(keys)
    key = _changed(await _find(store, name), body)
    if not await store.change(key):
        raise _not_found(name)
    await keys.refresh()
    return _shown(key)


@router.delete("/{name}", summary="Revoke a key for good")
async def delete_key(name: str, operator: Operator, keys: Keys) -> ApiKeyDeleted:
    """Its usage stays known, and so do its sessions, for a new key of the same name."""
    _refuse_fixed(keys, name)
    if not await _store(keys).remove(name):
        raise _not_found(name)
    await keys.refresh()
    return ApiKeyDeleted(name=name)


def _store(keys: Keys) -> KeyStore:
    assert keys.store is not None  # create_app gives it one
    return keys.store


async def _find(store: KeyStore, name: str) -> StoredKey:
    for key in await store.all():
        if key.name == name:
            return key
    raise _not_found(name)


def _not_found(name: str) -> KeyNotFound:
    return KeyNotFound(f"There is no API key named {name[:64]!r}.")


def _refuse_fixed(keys: Keys, name: str) -> None:
    if name in keys.fixed.names():
        raise PermissionDenied(
            f"The key {name} is in the settings of the server: change it there.",
            code="key_read_only",
        )


def _changed(key: StoredKey, body: KeyRules) -> StoredKey:
    """With what the body names. Raises InvalidRequest."""
    given = {name: getattr(body, name) for name in body.model_fields_set if name != "name"}
    limits = {name: given.pop(name) for name in LIMITS if name in given}
    old = {name: getattr(key, name) for name in key.__dataclass_fields__}
    old["limits"] = KeyLimits(
        **{name: limits.get(name, getattr(key.limits, name)) for name in LIMITS}
    )
    return StoredKey(**old | _checked(given))


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    try:
        if given.get("allowed_tools") is not None:
            given["allowed_tools"] = tool_rules(listed(given["allowed_tools"]))
        if "disallowed_tools" in given:
            given["disallowed_tools"] = rules(listed(given["disallowed_tools"]))
    except ValueError as error:
        raise InvalidRequest(f"{error}.") from None
    if "models" in given:
        given["models"] = tuple(given["models"] or ())
    return given


def _shown(key: StoredKey) -> ApiKey:
    names = set(ApiKey.model_fields) & set(key.__dataclass_fields__)
    shown = {name: getattr(key, name) for name in names}
    limits = {name: getattr(key.limits, name) for name in LIMITS}
    return ApiKey(**shown, **limits, key_id=key.sha256[:8], read_only=False)


def _fixed(principal: KnownPrincipal) -> ApiKey:
    names = set(ApiKey.model_fields) & set(principal.__dataclass_fields__)
    shown = {name: getattr(principal, name) for name in names}
    limits = {name: getattr(principal.limits, name) for name in LIMITS}
    return ApiKey(**shown, **limits, read_only=True)
