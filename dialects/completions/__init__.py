"""OpenAI's legacy completions: a prompt and what follows it. Source:
https://platform.openai.com/docs/api-reference/completions."""

from __future__ import annotations

from dialects.base import Context, ImageUrl, OpenAIErrors, Wire
from dialects.completions.fields import TABLE
from dialects.completions.renderer import CompletionsRenderer
from dialects.completions.request import CompletionsCall, parse
from dialects.completions.wire import Completion, CompletionsRequest
from models import ErrorBody


class CompletionsDialect(OpenAIErrors):
    name = "completions"
    wire = Wire(
        path="/v1/completions",
        request=CompletionsRequest,
        body=Completion,
        events=(Completion, ErrorBody),
        error=ErrorBody,
    )
    fields = TABLE

    def images(self, request: CompletionsRequest) -> list[ImageUrl]:
        """None: a prompt is text."""
        return []

    def parse(self, request: CompletionsRequest, context: Context) -> CompletionsCall:
        return parse(request, context)

    def renderer(self, call: CompletionsCall) -> CompletionsRenderer:
        return CompletionsRenderer(call)


DIALECT = CompletionsDialect()
