"""What the demo model says where it shall speak: sentences about this server, what it was told, and
arguments out of the question.

It is for people who try the demo. Tests ask for exact answers, and have the plain model.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from demo.conversation import Conversation, blocks_of, text_of
from demo.schema import instance

WORDS_A_SECOND: Final = 60.0

_QUESTION: Final = re.compile(
    r"\b(?:what(?:'s| is| was| are)|do you (?:know|remember)) my ([\w -]+?)\s*[?.!]",
    re.IGNORECASE,
)
_TOLD: Final = r"\bmy {topic} (?:is|was|are)(?: called)? ([^.,;!?\n]+)"
_NAME: Final = re.compile(
    r"\b(?i:my name is|i am called|i'm called|call me)\s+([A-Z][\w'-]*)"
    r"|\bI(?:'m| am) ([A-Z][\w'-]*)\b"
)
_SUM: Final = re.compile(
    r"(-?\d+(?:\.\d+)?)\s*([-+*x/]|plus|minus|times|and)\s*(-?\d+(?:\.\d+)?)", re.IGNORECASE
)
_ADDS: Final = re.compile(r"\b(add|sum|plus|total)\b", re.IGNORECASE)
_NUMBER: Final = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")
_PLACE: Final = re.compile(r"\b(?:in|for|at|of|from|to) ((?:[A-Z][\w'-]+)(?: [A-Z][\w'-]+)*)")
_QUOTED: Final = re.compile(r"[\"“'`]([^\"”'`]+)[\"”'`]")
_FILE: Final = re.compile(r"(?<![\w/.])((?:[\w.-]*/)*[\w-]+\.[A-Za-z]\w{0,5})\b")
_COUNT: Final = re.compile(r"\bcount from one to (\w+)", re.IGNORECASE)
_COUNTED: Final = [
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    "twenty",
]  # fmt: skip
_GREETING: Final = re.compile(r"^\W*(hi|hello|hey|good (?:day|morning|evening))\b", re.IGNORECASE)
_POEM: Final = re.compile(r"\b(haiku|poem|verse)\b", re.IGNORECASE)
_RESULT_CHARS: Final = 600

_OPERATIONS: Final[dict[str, Callable[[float, float], float]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}
_SIGNS: Final = {"plus": "+", "and": "+", "minus": "-", "times": "*", "x": "*"}

ABOUT: Final = (
    (
        r"stream|slow|token",
        "You are reading a stream. Each word travels as an event of its own, from the model "
        "through Claude Code and this server to you, and nothing waits for the end of the answer. "
        "With a real account the first word comes when Claude has one.",
    ),
    (
        r"tool|function",
        "Offer functions in `tools`, as with any OpenAI client. The model answers with a call, "
        "your program runs it, and the result goes into the next request. Claude Code's own "
        "tools, such as Read and Grep, can be asked for with `claude_tools` where allowed.",
    ),
    (
        r"session|histor|remember",
        "Send a `session_id`, and the server keeps the conversation: then the next request needs "
        "only its new message. Sessions belong to the key that made them.",
    ),
    (
        r"model|alias",
        "Claude's models go by their ids and by `sonnet`, `opus` and `haiku`. OpenAI's names work, "
        "too: `gpt-4o` is answered by Sonnet, unless MODEL_ALIASES says otherwise.",
    ),
    (
        r"cost|price|usage|money",
        "Every answer says how many tokens it took and what they cost, in `usage` and in the "
        "header `x-claude-cost-usd`. This one cost nothing: no account is behind it.",
    ),
    (
        r"key|safe|secur|protect",
        "Without a key only programs on this computer are served. For others the server makes a "
        "key or takes yours, and each key can have limits and models of its own.",
    ),
    (
        r"fast|quick|speed|perform",
        "Claude Code's processes are kept warm, and any of them answers any request: nothing is "
        "started while you wait. `make bench` measures it on your machine.",
    ),
)
WHAT_IT_IS: Final = (
    "This server puts Claude Code behind the APIs that your programs speak already. They send what "
    "they would send to OpenAI or Anthropic, and the model receives exactly that: your roles, your "
    "system prompt, your tools. Right now a fake model answers, so that you can try everything "
    "without an account; set ANTHROPIC_API_KEY, and Claude does."
)
HAIKU: Final = "Water finds its way,\nstone by stone it learns the hill,\nand forgets no rain."


def text(talk: Conversation) -> str:
    """The answer in words, when no tool is called."""
    if talk.rounds:
        return _told_by_tools(talk)
    said = [said for say in (_remembered, _about) if (said := say(talk))]
    for say in (_counted, _recalled, _calculated, _poem):
        if only := say(talk):
            return only
    if said:
        return " ".join(said)
    if _GREETING.match(talk.asked):
        return f"Hello! {WHAT_IT_IS}"
    return f"You said: “{_shortened(talk.asked.strip(), 200)}” {WHAT_IT_IS}"


def arguments(schema: dict[str, Any], asked: str) -> Any:
    """What a call of a function with this schema says, as far as the question tells."""
    made = instance(schema)
    if not isinstance(made, dict):
        return made
    properties: dict[str, Any] = schema.get("properties") or {}
    numbers = _NUMBER.findall(asked)
    words = _QUOTED.findall(asked) + _PLACE.findall(asked)
    for name, inner in properties.items():
        found = _argument(inner, asked, numbers, words)
        if found is not None and (name in made or name in schema.get("required", ())):
            made[name] = found
    return made


def file_asked_for(talk: Conversation) -> str | None:
    """The name of a file in the question, where the tool that reads files is on offer."""
    has_read = any(tool.get("name") == "Read" for tool in talk.tools)
    found = _FILE.search(talk.asked) if has_read and not talk.rounds else None
    return found[1] if found else None


def function_meant(names: list[str], asked: str) -> str | None:
    """The function whose name's words are in the question, as "weather" is of get_weather."""
    said = set(re.findall(r"[a-z]+", asked.lower()))
    common = {"get", "set", "list", "find", "the", "my", "of", "to", "search", "run", "do", "a"}
    for name in names:
        words = set(re.findall(r"[a-z]+", name.rsplit("__", 1)[-1].lower())) - common
        if words and words <= said:
            return name
    return None


def _argument(
    schema: dict[str, Any], asked: str, numbers: list[str], words: list[str]
) -> object | None:
    """Takes what it uses from the numbers and words that are left."""
    if options := schema.get("enum"):
        return next((each for each in options if str(each).lower() in asked.lower()), None)
    match schema.get("type"):
        case "integer" | "number" if numbers:
            number = float(numbers.pop(0))
            return int(number) if number.is_integer() else number
        case "string" if words:
            return words.pop(0)
        case "array" if numbers and (schema.get("items") or {}).get("type") in (
            "number",
            "integer",
        ):
            taken = [float(number) for number in numbers]
            numbers.clear()
            return [int(number) if number.is_integer() else number for number in taken]
    return None


def _told_by_tools(talk: Conversation) -> str:
    """A tool's result in a sentence; an object's fields one by one."""
    sentences = []
    for name, result in talk.results:
        bare = name.rsplit("__", 1)[-1]
        try:
            told = json.loads(result)
        except ValueError:
            told = result
        if isinstance(told, dict):
            fields = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in told.items())
            sentences.append(f"{bare} says: {fields}.")
        else:
            sentences.append(f"{bare} says: {_shortened(str(told).strip(), _RESULT_CHARS)}")
    return "\n".join(sentences)


def _counted(talk: Conversation) -> str | None:
    found = _COUNT.search(talk.asked)
    last = found[1].lower() if found else ""
    if last not in _COUNTED:
        return None
    return ", ".join(_COUNTED[: _COUNTED.index(last) + 1]) + "."


def _recalled(talk: Conversation) -> str | None:
    """What the user said of themselves earlier in the conversation."""
    found = _QUESTION.search(talk.asked)
    if found is None:
        return None
    topic = found[1].strip().lower()
    for said in reversed(_earlier(talk)):
        if topic == "name" and (name := _NAME.search(said)):
            return f"Your name is {name[1] or name[2]}: you told me."
        pattern = _TOLD.format(topic=re.escape(topic))
        if told := re.search(pattern, said, re.IGNORECASE):
            return f"Your {topic} is {told[1].strip()}: you told me."
    return f"You have not told me your {topic} yet."


def _earlier(talk: Conversation) -> list[str]:
    """The user's texts before the question."""
    users = [m for m in talk.body["messages"] if m["role"] == "user"]
    texts = [text_of([b for b in blocks_of(m) if b.get("type") == "text"]) for m in users]
    return texts[:-1]


def _calculated(talk: Conversation) -> str | None:
    found = _SUM.search(talk.asked)
    if found is None or (found[2].lower() == "and" and not _ADDS.search(talk.asked)):
        return None
    sign = _SIGNS.get(found[2].lower(), found[2])
    first, second = float(found[1]), float(found[3])
    if sign == "/" and not second:
        return "Nothing can be divided by zero."
    return f"{found[1]} {sign} {found[3]} is {_OPERATIONS[sign](first, second):.10g}."


def _remembered(talk: Conversation) -> str | None:
    if name := _NAME.search(talk.asked):
        return f"Nice to meet you, {name[1] or name[2]}."
    told = re.search(r"\bmy ([\w -]+?) (?:is|was) ([^.,;!?\n]+)", talk.asked, re.IGNORECASE)
    return f"Noted: your {told[1]} is {told[2].strip()}." if told else None


def _poem(talk: Conversation) -> str | None:
    return HAIKU if _POEM.search(talk.asked) else None


def _about(talk: Conversation) -> str | None:
    asked = talk.asked.lower()
    found = next((say for words, say in ABOUT if re.search(rf"\b(?:{words})", asked)), None)
    if found is None and re.search(r"\b(server|this|you)\b", asked) and "?" in asked:
        return WHAT_IT_IS
    return found


def _shortened(said: str, most: int) -> str:
    return said if len(said) <= most else f"{said[:most].rstrip()}…"
