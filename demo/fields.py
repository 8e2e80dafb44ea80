"""Checks of single values that several parts of a request share, in the API's words."""

from collections.abc import Collection
from typing import Any, Final

from demo.errors import invalid

Block = dict[str, Any]

_SCOPE_BETA: Final = "prompt-caching-scope"


def check_number(
    name: str, value: object, least: float, most: float | None, *, integer: bool = False
) -> None:
    """Raise the API's error for a value that is not a number or out of its bounds."""
    kinds = (int,) if integer else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise invalid(f"{name}: Input should be a valid {'integer' if integer else 'number'}")
    assert isinstance(value, int | float)
    if value < least:
        raise invalid(f"{name}: Input should be greater than or equal to {least:g}")
    if most is not None and value > most:
        raise invalid(f"{name}: Input should be less than or equal to {most:g}")


def check_names(place: str, value: Block, allowed: Collection[str]) -> None:
    """Raise the API's error for a field that the object may not have."""
    for name in value:
        if name not in allowed:
            raise invalid(f"{place}.{name}: Extra inputs are not permitted")


def check_object(place: str, value: object, allowed: Collection[str] | None = None) -> Block:
    """The value as an object; raise the API's error for anything else, or for extra fields."""
    if not isinstance(value, dict):
        raise invalid(f"{place}: Input should be a valid dictionary")
    if allowed is not None:
        check_names(place, value, allowed)
    return value


def check_string(place: str, value: object) -> str:
    """The value as a string; raise the API's error for a missing or other one."""
    if value is None:
        raise invalid(f"{place}: Field required")
    if not isinstance(value, str):
        raise invalid(f"{place}: Input should be a valid string")
    return value


def check_flag(place: str, value: object) -> None:
    """Raise the API's error unless the value is a boolean or null."""
    if value is not None and not isinstance(value, bool):
        raise invalid(f"{place}: Input should be a valid boolean")


def check_choice(place: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise the API's error unless the value is one of these strings."""
    if value not in allowed:
        raise invalid(f"{place}: Input should be {listed(allowed)}")


def listed(names: tuple[str, ...]) -> str:
    """Names as the API lists them: `'a', 'b' or 'c'`."""
    quoted = [f"'{name}'" for name in names]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)


def check_cache_control(place: str, mark: object, betas: Collection[str] = ()) -> None:
    """Raise the API's error for a cache mark that is not null or `ephemeral` with a known ttl."""
    if mark is None:
        return
    place = f"{place}.cache_control"
    kind = mark.get("type") if isinstance(mark, dict) else None
    if not isinstance(mark, dict) or kind is None:
        raise invalid(f"{place}: Input should be a valid dictionary with a 'type'")
    if kind != "ephemeral":
        raise invalid(
            f"{place}: Input tag '{kind}' found using 'type' does not match any of the expected "
            "tags: 'ephemeral'"
        )
    scoped = any(beta.startswith(_SCOPE_BETA) for beta in betas)
    check_names(f"{place}.ephemeral", mark, ("type", "ttl", "scope") if scoped else ("type", "ttl"))
    if "ttl" in mark:
        check_choice(f"{place}.ephemeral.ttl", mark["ttl"], ("5m", "1h"))
