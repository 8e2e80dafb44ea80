"""How many tokens a request holds, estimated: Claude's tokenizers are not published.

A text is cut into words, numbers, marks and characters, and each kind has a price. The prices were
fitted to the last tokenizer that Anthropic published (Claude 2's), to which the later ones up to
Claude 4.6 are close. Those since Opus 4.7 cut Latin words finer, and nothing else: how much finer
was fitted to published counts of the API. docs/token-counting.md says how far off it is.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple

from core.conversation import JsonObject
from core.turn import Turn
from dialects.image_size import image_size

PIECE = re.compile(
    r" ?[A-Za-z]*[\u00c0-\u024f][A-Za-z\u00c0-\u024f]*| ?[A-Z]?[a-z]+| ?[A-Z]+| ?[0-9]+"
    r"| ?[!-/:-@\[-`{-~]+|[ \t\r\n\f\v]+|[\u3400-\u9fff\uf900-\ufaff]+|[^\x00-\x7f]+|.",
    re.DOTALL,
)
SPACED_WORDS = ((3, 0.97), (5, 0.88), (7, 1.1), (9, 1.35), (11, 1.4), (14, 2.0))
"""Most letters, and the price of such a word behind a space."""

LONGEST_SPACED_WORD = 4.3
WORDS = ((1, 0.82), (3, 1.12), (5, 0.9), (7, 1.1), (9, 1.51), (11, 1.87), (14, 2.38))
"""The same without a space: parts of identifiers."""

LONGEST_WORD = 4.1
NAME_LETTERS, NAME_LETTER = 5, 0.42
"""Each letter after so many of a capitalized word behind a space: names, and German nouns."""

ACCENTED_LETTER = 0.8
"""Each letter of a word that has one with a mark above or below."""

CAPITALS, CAPITAL_LETTER = 1.48, 0.13
"""A word of capitals, without a space, and each of its letters."""

NUMBER, DIGIT = 1.25, 0.07
MARKS = (0.86, 1.06, 0.9, 2.0)
"""The price of one to four marks in a row."""

FURTHER_MARK = 0.15
JSON_MARKS = frozenset('":,{}[]')
JSON_RUN, FURTHER_JSON_MARK = 0.86, 0.32
"""Several of JSON's own marks in a row, and each after the second."""

LINE_BREAK = 1.52
INDENT = 1.06
"""Several spaces that begin no line."""

CHINESE_RUN, CHINESE_CHARACTER = 0.93, 0.95
SCRIPTS = (
    (0x0370, 0x03FF, 1.29),  # Greek
    (0x0400, 0x052F, 0.55),  # Cyrillic
    (0x0600, 0x06FF, 0.92),  # Arabic
    (0x0900, 0x097F, 1.3),  # Devanagari
    (0x2000, 0x2BFF, 0.5),  # punctuation and symbols
    (0x3000, 0x303F, 1.0),  # Chinese and Japanese marks
    (0x3040, 0x30FF, 0.91),  # Kana
    (0xAC00, 0xD7AF, 1.26),  # Hangul
    (0xFF00, 0xFFEF, 0.8),  # full-width forms
    (0x1F000, 0x1FAFF, 2.0),  # emoji
)
OTHER_CHARACTER = 1.0
FOREIGN_RUN = 0.2
"""Each run of characters of other scripts, beside its characters."""

SHORT_LETTERS = 3
FINER_SHORT, FINER_LONG = 1.1, 1.9
"""How much more a word costs since Opus 4.7."""

MODEL_VERSION = re.compile(r"(?:opus|sonnet|haiku)-(\d+)(?:-(\d{1,2})(?!\d))?")
OLD_MODEL = re.compile(r"claude-(?:instant|v?[123](?:\b|[.-]))")
FINER_SINCE = (4, 7)

REQUEST, MESSAGE = 2, 4
"""What a request and each message cost by themselves: a conversation of one letter counts 8."""

TOOL_PROMPTS = {"any": 313, "tool": 313}
TOOL_PROMPT = 346
"""What the API tells the model of tools, where there are any; by `tool_choice`."""

TOOL_CALL = 24
"""The frame of a call or its result."""

PATCH = 28
"""An image costs a token for each square of so many pixels."""

LONGEST_EDGE, MOST_IMAGE_TOKENS = (1568, 2576), (1568, 4784)
"""Larger images are made smaller first: until Claude 4.6, and since."""

PDF_PAGE = 1_500
"""A page as an image; its text comes on top."""

PDF_PAGES = re.compile(rb"/Type\s*/Page\b(?!s)")
PDF_PAGE_TEXT = 800
SERVER_TOOL = 300
"""The definition of one of the API's own tools."""


def is_finer(model: str) -> bool:
    """Whether a model has the tokenizer of Opus 4.7 or a later one; unknown ones are new."""
    if OLD_MODEL.search(model):
        return False
    version = MODEL_VERSION.search(model)
    return version is None or (int(version[1]), int(version[2] or 0)) >= FINER_SINCE


class _Price(NamedTuple):
    """`letters` is the part that newer models count differently, by the length of the word."""

    other: float = 0.0
    short: float = 0.0
    long: float = 0.0


def text_tokens(text: str, *, finer: bool) -> float:
    """Without what surrounds a text in a request."""
    other = short = long = 0.0
    for piece, count in Counter(PIECE.findall(text)).items():
        price = _price(piece)
        other += price.other * count
        short += price.short * count
        long += price.long * count
    return other + short * FINER_SHORT + long * FINER_LONG if finer else other + short + long


def _price(piece: str) -> _Price:
    word = piece.lstrip(" ")
    if not word.strip():
        return _Price(_white_space(piece))
    if not word.isascii():
        return _foreign(word)
    if word[0].isdigit():
        return _Price(NUMBER + DIGIT * len(word))
    if not word[0].isalpha():
        return _Price(_marks(word))
    spaced = len(word) < len(piece)
    if word.isupper() and len(word) > 1:
        return _Price(long=(0.0 if spaced else CAPITALS) + CAPITAL_LETTER * len(word))
    price = _word(len(word), spaced=spaced)
    if spaced and word[0].isupper():
        price += NAME_LETTER * max(0, len(word) - NAME_LETTERS)
    return _Price(short=price) if len(word) <= SHORT_LETTERS else _Price(long=price)


def _foreign(word: str) -> _Price:
    if any("\u00c0" <= character <= "\u024f" for character in word):
        half = ACCENTED_LETTER * len(word) / 2  # around the letter they were cut finely before
        return _Price(half, long=half)
    if "\u3400" <= word[0] <= "\u9fff" or "\uf900" <= word[0] <= "\ufaff":
        return _Price(CHINESE_RUN + CHINESE_CHARACTER * len(word))
    return _Price(FOREIGN_RUN + sum(map(_character, word)))


def _marks(marks: str) -> float:
    if len(marks) > 1 and JSON_MARKS.issuperset(marks):
        return JSON_RUN + FURTHER_JSON_MARK * (len(marks) - 2)
    return MARKS[min(len(marks), 4) - 1] + FURTHER_MARK * max(0, len(marks) - 4)


def _word(letters: int, *, spaced: bool) -> float:
    table, longest = (SPACED_WORDS, LONGEST_SPACED_WORD) if spaced else (WORDS, LONGEST_WORD)
    return next((price for most, price in table if letters <= most), longest)


def _white_space(piece: str) -> float:
    if "\n" in piece:
        return LINE_BREAK
    return INDENT if len(piece) > 1 else 0.0


def _character(character: str) -> float:
    code = ord(character)
    return next((price for first, last, price in SCRIPTS if first <= code <= last), OTHER_CHARACTER)


@dataclass(slots=True)
class _Counter:
    finer: bool
    tokens: float = field(default=REQUEST)

    def text(self, text: Any) -> None:
        if isinstance(text, str):
            self.tokens += text_tokens(text, finer=self.finer)

    def data(self, value: Any) -> None:
        """A JSON value as the model is shown it."""
        self.text(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))

    def system(self, system: Any) -> None:
        for block in [system] if isinstance(system, str) else system or ():
            self.text(block if isinstance(block, str) else block.get("text"))

    def messages(self, messages: Iterable[JsonObject]) -> None:
        for message in messages:
            self.tokens += MESSAGE
            self.content(message.get("content"))

    def content(self, content: Any) -> None:
        if isinstance(content, str):
            self.text(content)
            return
        for block in content if isinstance(content, list | tuple) else ():
            if isinstance(block, dict):
                self.block(block)

    def block(self, block: JsonObject) -> None:
        match block.get("type"):
            case "text":
                self.text(block.get("text"))
            case "image":
                self.tokens += image_tokens(_bytes(block), finer=self.finer)
            case "document":
                self.document(block)
            case "thinking":
                self.text(block.get("thinking"))
            case "redacted_thinking":
                self.tokens += len(str(block.get("data", ""))) / 4
            case "tool_use" | "server_tool_use" | "mcp_tool_use":
                self.tokens += TOOL_CALL
                self.text(block.get("name"))
                self.data(block.get("input"))
            case "tool_result" | "mcp_tool_result":
                self.tokens += TOOL_CALL
                self.content(block.get("content"))
            case "search_result":
                self.text(block.get("source"))
                self.text(block.get("title"))
                self.content(block.get("content"))
            case _:
                self.data({k: v for k, v in block.items() if not k.startswith("encrypted")})

    def document(self, block: JsonObject) -> None:
        self.text(block.get("title"))
        self.text(block.get("context"))
        match block.get("source"):
            case {"type": "text", "data": text}:
                self.text(text)
            case {"type": "content", "content": content}:
                self.content(content)
            case _:
                pages = max(1, len(PDF_PAGES.findall(_bytes(block))))
                self.tokens += pages * (PDF_PAGE + PDF_PAGE_TEXT)

    def tools(self, tools: Iterable[JsonObject], choice: str | None) -> None:
        definitions = [tool for tool in tools if isinstance(tool, dict)]
        if definitions and choice != "none":
            self.tokens += TOOL_PROMPTS.get(choice or "auto", TOOL_PROMPT)
        for tool in definitions:
            if tool.get("type") not in (None, "custom"):
                self.tokens += SERVER_TOOL
                continue
            shown = ("name", "description", "input_schema", "input_examples")
            self.data({key: tool[key] for key in shown if key in tool})


def image_tokens(data: bytes, *, finer: bool) -> float:
    """Of an image's bytes; one whose size is not to be seen counts as the largest."""
    edge, most = LONGEST_EDGE[finer], MOST_IMAGE_TOKENS[finer]
    size = image_size(data)
    if size is None:
        return most
    width, height = (pixels * min(1.0, edge / max(size)) for pixels in size)
    tokens = ceil(width / PATCH) * ceil(height / PATCH)
    return min(tokens, most)


def _bytes(block: JsonObject) -> bytes:
    """What stands in a block as base64; nothing where it is an address or a file's id."""
    source = block.get("source")
    data = source.get("data") if isinstance(source, dict) else None
    try:
        return base64.b64decode(data) if isinstance(data, str) else b""
    except (binascii.Error, ValueError):
        return b""


def estimate(body: JsonObject, model: str) -> int:
    """The input tokens of a body of the Messages API: system, tools and messages with all that is
    in them. Never raises for what the API would refuse."""
    counter = _Counter(is_finer(model))
    counter.system(body.get("system"))
    choice = body.get("tool_choice")
    counter.tools(body.get("tools") or (), choice.get("type") if isinstance(choice, dict) else None)
    counter.messages(m for m in body.get("messages") or () if isinstance(m, dict))
    config = body.get("output_config")
    if isinstance(config, dict) and config.get("format"):
        counter.data(config["format"])
    return max(1, round(counter.tokens))


def estimate_turn(turn: Turn) -> int:
    """The same of a turn, whatever API it came by."""
    if turn.native is not None:
        body: JsonObject = {"system": turn.system, "messages": _messages(turn), **turn.native}
        return estimate(body, turn.model)
    tools = [
        {"name": t.name, "description": t.description, "input_schema": t.input_schema}
        for t in turn.tools
    ]
    body = {
        "system": turn.system,
        "messages": _messages(turn),
        "tools": [*tools, *turn.server_tools],
        "tool_choice": {"type": turn.tool_choice.type},
    }
    if turn.output_schema is not None:
        body["output_config"] = {"format": turn.output_schema}
    return estimate(body, turn.model)


def _messages(turn: Turn) -> list[JsonObject]:
    return [{"role": m.role, "content": list(m.content)} for m in turn.messages]
