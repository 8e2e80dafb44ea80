"""Wire models of `POST /v1/completions`: shapes only. Source:
https://platform.openai.com/docs/api-reference/completions/create."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from models import CompletionUsage, Lenient, StreamOptions


class CompletionsRequest(Lenient):
    """The body. `prompt` is a text, several, or what is refused by name: token arrays."""

    model: str = ""
    prompt: str | list[Any] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    n: int | None = Field(None, ge=1, le=10)
    best_of: int | None = Field(None, ge=0, le=20)
    echo: bool | None = None
    stop: str | list[str] | None = None
    suffix: str | None = None
    logprobs: int | bool | None = None
    logit_bias: dict[str, float] | None = None
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = None
    user: str | None = None

    @property
    def session_id(self) -> None:
        """A prompt has no history."""
        return


FinishReason = Literal["stop", "length", "content_filter"]


class CompletionChoice(BaseModel):
    text: str
    index: int
    logprobs: None = None
    finish_reason: FinishReason | None


class Completion(BaseModel):
    """The answer, and each event of one with `stream`, where the last but one has the usage."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage | None = None
    system_fingerprint: str | None = None
