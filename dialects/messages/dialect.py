"""The dialect as the pipeline knows it."""

from __future__ import annotations

from core.conversation import JsonObject
from core.errors import GatewayError
from dialects.base import Context, ImageUrl
from dialects.messages.errors import error_body
from dialects.messages.renderer import MessagesRenderer
from dialects.messages.request import MessagesCall, parse
from dialects.messages.wire import MessagesRequest


class MessagesDialect:
    """`dialects.base.Dialect` for Anthropic's Messages."""

    name = "messages"

    def images(self, request: MessagesRequest) -> list[ImageUrl]:
        """None: the API fetches `url` sources itself."""
        return []

    def parse(self, request: MessagesRequest, context: Context) -> MessagesCall:
        return parse(request, context)

    def renderer(self, call: MessagesCall) -> MessagesRenderer:
        return MessagesRenderer(call)

    def error(self, error: GatewayError) -> JsonObject:
        return error_body(error)


DIALECT = MessagesDialect()
