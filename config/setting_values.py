"""The forms in which a setting's value may be written, beyond plain numbers and texts.

A validator raises ValueError with what follows the setting's name in a sentence: "must be …".
"""

from __future__ import annotations

import json
import re
import shutil
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from core.builtin_tools import SEPARATOR


def _json(value: str, kind: type[Any], allowed: str) -> Any:
    try:
        parsed = json.loads(value)
    except ValueError:
        raise ValueError(f"must be {allowed}") from None
    if not isinstance(parsed, kind):
        raise ValueError(f"must be {allowed}")
    return parsed


def _aliases(value: object) -> object:
    allowed = 'a JSON object of patterns and models, such as {"gpt-4*": "opus"}'
    table = _json(value, dict, allowed) if isinstance(value, str) else value
    if not isinstance(table, dict) or not all(isinstance(v, str) and v for v in table.values()):
        raise ValueError(f"must be {allowed}")
    return table


def _origins(value: object) -> object:
    """A JSON list or comma separated, without the trailing slash that no `Origin` header has."""
    allowed = 'a JSON list or comma separated origins such as https://chat.example.com, or "*"'
    if isinstance(value, str):
        is_json = value.lstrip().startswith("[")
        value = _json(value, list, allowed) if is_json else value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"must be {allowed}")
    origins = tuple(item.strip().rstrip("/") for item in value if item.strip())
    if any(item != "*" and "://" not in item for item in origins):
        raise ValueError(f"must be {allowed}")
    return origins


def _names(value: object) -> object:
    """A JSON list or comma separated; a comma inside of parentheses is part of a name."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        items = _json(value, list, "a JSON list or names, comma separated")
    else:
        items = SEPARATOR.split(value)
    return tuple(str(item).strip() for item in items if str(item).strip())


def _networks(value: object) -> object:
    """Addresses and CIDRs, comma separated."""
    if not isinstance(value, str):
        return value
    try:
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
    except ValueError:
        raise ValueError("must be IP addresses or CIDRs such as 10.0.0.0/8") from None


def _http_url(value: str | None) -> str | None:
    if value and not re.match(r"https?://[^/\s]+", value):
        raise ValueError("must be an http:// or https:// address")
    return value or None


def _redis_url(value: str | None) -> str | None:
    if value and not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must be a URL such as redis://localhost:6379/0")
    return value


def _header_lines(value: object) -> object:
    """The CLI's own form, "Name: value" lines, out of that form or a JSON object."""
    allowed = 'a JSON object such as {"X-Team": "search"}, or lines of "Name: value"'
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        table = _json(value, dict, allowed)
        value = "\n".join(f"{name}: {_header_value(table[name], allowed)}" for name in table)
    lines = [line.strip() for line in value.splitlines() if line.strip()]
    if not all(line.partition(":")[0].strip() and ":" in line for line in lines):
        raise ValueError(f"must be {allowed}")
    return "\n".join(lines) or None


def _header_value(value: object, allowed: str) -> str:
    """One line: a line break inside a value would start another header."""
    if not isinstance(value, str | int | float) or set(str(value)) & set("\r\n"):
        raise ValueError(f"must be {allowed}")
    return str(value)


def in_upper_case(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def in_lower_case(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _cli(value: Path | None) -> Path | None:
    """A bare name is looked up on PATH; where it is not there, the bundled one is used."""
    if value is None:
        return None
    path = value.expanduser()
    if not path.is_file() and len(path.parts) == 1:
        found = shutil.which(path)
        return Path(found) if found else None
    if not path.is_file():
        raise ValueError("must be the path of the claude executable: there is no such file")
    return path


ModelAliases = Annotated[dict[str, str], NoDecode, BeforeValidator(_aliases)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)]
NameList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]
HttpUrl = Annotated[str | None, AfterValidator(_http_url)]
RedisUrl = Annotated[str | None, AfterValidator(_redis_url)]
HeaderLines = Annotated[str | None, BeforeValidator(_header_lines)]
CliPath = Annotated[Path | None, AfterValidator(_cli)]
