"""The dialect as the pipeline knows it."""

from __future__ import annotations

from core.conversation import JsonObject
from core.errors import GatewayError
from dialects.base import Context, ImageUrl
from dialects.completions.renderer import CompletionsRenderer
from dialects.completions.request import CompletionsCall, parse
from dialects.completions.wire import CompletionsRequest


class CompletionsDialect:
    """`dialects.base.Dialect` for OpenAI's legacy completions."""

    name = "completions"

    def images(self, request: CompletionsRequest) -> list[ImageUrl]:
        """None: a prompt is text."""
        return []

    def parse(self, request: CompletionsRequest, context: Context) -> CompletionsCall:
        return parse(request, context)

    def renderer(self, call: CompletionsCall) -> CompletionsRenderer:
        return CompletionsRenderer(call)

    def error(self, error: GatewayError) -> JsonObject:
        return error.body()


DIALECT = CompletionsDialect()
