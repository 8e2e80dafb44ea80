"""What the troubleshooting page quotes is what the code says, with the status that it has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from core import errors
from tests.support.pages import PACKAGES, ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
ROW = re.compile(r"^\| (?!you see|-)(.*?) \| .* \| .* \|$", re.MULTILINE)
QUOTED = re.compile(r"`([^`]+)`")
STATUS_AND_CODE = re.compile(r"(\d{3}) `(\w+)`")
FEWEST_SYMPTOMS = 25
SYMPTOMS = ROW.findall(PAGE.read_text())
QUOTES = sorted({quote for symptom in SYMPTOMS for quote in QUOTED.findall(symptom)})
PAIRS = sorted({pair for symptom in SYMPTOMS for pair in STATUS_AND_CODE.findall(symptom)})
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.GatewayError)
]


def sources() -> Iterator[Path]:
    yield from ROOT.glob("*.py")
    for folder in (*PACKAGES, "scripts"):
        yield from (ROOT / folder).rglob("*.py")


@cache
def trees() -> tuple[ast.Module, ...]:
    return tuple(ast.parse(path.read_text()) for path in sources())


@cache
def texts() -> tuple[str, ...]:
    """All strings of the code, with `…` where a value is put in, and what is said elsewhere."""
    nodes = [node for tree in trees() for node in ast.walk(tree)]
    others = ("scripts/bootstrap", "scripts/entrypoint.sh", "docker-compose.yml")
    return (*filter(None, map(text_of, nodes)), *((ROOT / name).read_text() for name in others))


def text_of(node: ast.AST) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(text_of(value) or "…" for value in values)
    return None


@cache
def statuses() -> dict[str, set[int]]:
    """The statuses with which each code is answered: its class's, or that of whoever gives it."""
    classes = {kind.__name__: kind for kind in KINDS}
    found: dict[str, set[int]] = {}
    for kind in KINDS:
        found.setdefault(kind.default_code or "", set()).add(kind.status)
    for node in (node for tree in trees() for node in ast.walk(tree)):
        match node:
            case ast.Call(func=ast.Name(id=name), keywords=keywords) if name in classes:
                for code in (text_of(word.value) for word in keywords if word.arg == "code"):
                    found.setdefault(code or "", set()).add(classes[name].status)
    return found


@pytest.mark.parametrize("quote", QUOTES)
def test_what_is_quoted_is_said_by_the_code(quote: str) -> None:
    wanted = ".*".join(re.escape(piece.strip()) for piece in quote.split("…"))
    assert any(re.search(wanted, text) for text in texts())


@pytest.mark.parametrize(("status", "code"), PAIRS)
def test_a_code_has_the_status_that_is_documented(status: str, code: str) -> None:
    assert int(status) in statuses().get(code, ())


def test_every_error_of_the_tree_is_explained() -> None:
    codes = {kind.default_code for kind in KINDS}
    assert codes - {code for _, code in PAIRS} - IN_ITS_OWN_WORDS == set()
    assert len(SYMPTOMS) >= FEWEST_SYMPTOMS


IN_ITS_OWN_WORDS = {
    "internal_error",  # a bug
    "invalid_value",  # the message says what the field may be
    "permission_denied",
    "not_found",
}
