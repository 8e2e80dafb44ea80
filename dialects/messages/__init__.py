"""Anthropic's Messages API: what a client wrote reaches the model as it is, and the API's own
events are its answer. Source: https://docs.anthropic.com/en/api/messages."""

from __future__ import annotations

from dialects.base import AnthropicErrors, Context, ImageUrl, Wire
from dialects.messages.fields import TABLE
from dialects.messages.renderer import MessagesRenderer
from dialects.messages.request import MessagesCall, parse
from dialects.messages.wire import (
    AnthropicError,
    AnthropicMessage,
    MessagesEvent,
    MessagesRequest,
)


class MessagesDialect(AnthropicErrors):
    name = "messages"
    wire = Wire(
        path="/v1/messages",
        request=MessagesRequest,
        body=AnthropicMessage,
        events=(MessagesEvent,),
        error=AnthropicError,
        ends_with_done=False,
    )
    fields = TABLE

    def images(self, request: MessagesRequest) -> list[ImageUrl]:
        """None: the API fetches `url` sources itself."""
        return []

    def parse(self, request: MessagesRequest, context: Context) -> MessagesCall:
        return parse(request, context)

    def renderer(self, call: MessagesCall) -> MessagesRenderer:
        return MessagesRenderer(call)


DIALECT = MessagesDialect()
