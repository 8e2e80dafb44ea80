"""A legacy completion -> a `Call`: each prompt is a turn of one user's message."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from core.conversation import Message, text_block
from core.errors import InvalidRequest, UnsupportedParameter
from core.turn import Sampling, Turn
from dialects.base import Call, Context, header_names
from dialects.completions.fields import TABLE
from dialects.completions.wire import CompletionsRequest
from models import BuiltinToolHeaders

MOST_CHOICES = 20
MOST_STOPS = 4


@dataclass(frozen=True, slots=True)
class CompletionsCall(Call):
    """`prompts` are the texts: each is answered `n` times, and `turns` are all of these turns.
    Answer `i` is of prompt `i // n`."""

    prompts: tuple[str, ...] = ()
    echo: bool = False
    include_usage: bool = False

    @property
    def turns(self) -> tuple[Turn, ...]:
        each = (replace(self.turn, messages=_asking(prompt)) for prompt in self.prompts)
        return tuple(turn for turn in each for _ in range(self.n))

    def prompt_of(self, choice: int) -> str:
        return self.prompts[choice // self.n]


def parse(request: CompletionsRequest, context: Context) -> CompletionsCall:
    """Raises InvalidRequest, naming the field."""
    _refuse(request, context)
    prompts = _prompts(request.prompt)
    n = request.n or 1
    if len(prompts) * n > MOST_CHOICES:
        raise InvalidRequest(
            f"There may be at most {MOST_CHOICES} answers to one request: {len(prompts)} prompts "
            f"with `n` = {n} are more.",
            param="n" if n > 1 else "prompt",
        )
    turn = Turn(
        model=context.model,
        messages=_asking(prompts[0]),
        sampling=_sampling(request),
        principal=context.principal,
        user=request.user,
    )
    options = request.stream_options
    ignored = _ignored(request) | ({"seed"} if request.seed is not None and prompts[1:] else set())
    return CompletionsCall(
        turn=turn,
        stream=bool(request.stream),
        n=n,
        seed=None if prompts[1:] else request.seed,
        ignored=header_names(ignored),
        prompts=prompts,
        echo=bool(request.echo),
        include_usage=bool(options and options.include_usage),
    )


def _asking(prompt: str) -> tuple[Message, ...]:
    return (Message("user", (text_block(prompt),)),)


def _refuse(request: CompletionsRequest, context: Context) -> None:
    if request.suffix:
        raise UnsupportedParameter(
            "`suffix` is not supported: Claude does not fill in before a given end.",
            param="suffix",
        )
    if request.logprobs is not None and request.logprobs is not False:
        raise UnsupportedParameter(
            "`logprobs` is not supported: Claude gives no token probabilities.", param="logprobs"
        )
    if request.best_of and request.best_of < (request.n or 1):
        raise InvalidRequest("`best_of` must not be less than `n`.", param="best_of")
    if context.session_id is not None:
        raise InvalidRequest("A prompt has no session: use /v1/chat/completions.", param="prompt")
    if any(getattr(context.headers, name) is not None for name in BuiltinToolHeaders.model_fields):
        message = "Built-in tools are for conversations: use /v1/chat/completions."
        raise InvalidRequest(message, param="prompt")


def _prompts(given: str | list[Any] | None) -> tuple[str, ...]:
    prompts = [given] if isinstance(given, str) else given or []
    if any(not isinstance(prompt, str) for prompt in prompts):
        raise UnsupportedParameter(
            "Prompts of tokens are not supported, since Claude has other tokens: send text.",
            param="prompt",
        )
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise InvalidRequest("The prompt must hold some text.", param="prompt")
    return tuple(prompts)


def _sampling(request: CompletionsRequest) -> Sampling:
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    if len(stop) > MOST_STOPS:
        raise InvalidRequest(f"There may be at most {MOST_STOPS} stop sequences.", param="stop")
    return Sampling(
        max_tokens=request.max_tokens,
        temperature=None if request.temperature is None else min(request.temperature, 1.0),
        top_p=request.top_p,
        stop=tuple(text for text in stop if text),
    )


def _ignored(request: CompletionsRequest) -> set[str]:
    """What was asked for and has no effect."""
    ignored = TABLE.ignored(request) - {"suffix", "logprobs"}
    if request.best_of == (request.n or 1):
        ignored.discard("best_of")
    if request.temperature is not None and request.temperature > 1:
        ignored.add("temperature")
    return ignored
