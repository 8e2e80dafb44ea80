"""OpenAI's chat completions (https://platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

from dialects.base import Context, ImageUrl, OpenAIErrors, Wire
from dialects.chat.fields import TABLE
from dialects.chat.renderer import ChatRenderer
from dialects.chat.request import ChatCall, parse
from dialects.images import image_urls
from models import ChatCompletion, ChatCompletionChunk, ChatRequest, ErrorBody


class ChatDialect(OpenAIErrors):
    name = "chat"
    wire = Wire(
        path="/v1/chat/completions",
        request=ChatRequest,
        body=ChatCompletion,
        events=(ChatCompletionChunk, ErrorBody),
        error=ErrorBody,
    )
    fields = TABLE

    def images(self, request: ChatRequest) -> list[ImageUrl]:
        return [
            image
            for index, message in enumerate(request.messages)
            for image in image_urls(message.content, f"messages[{index}].content")
        ]

    def parse(self, request: ChatRequest, context: Context) -> ChatCall:
        return parse(request, context)

    def renderer(self, call: ChatCall) -> ChatRenderer:
        return ChatRenderer(call)


DIALECT = ChatDialect()
