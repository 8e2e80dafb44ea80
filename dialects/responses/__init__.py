"""OpenAI's Responses API (https://platform.openai.com/docs/api-reference/responses)."""

from __future__ import annotations

from dialects.base import Context, ImageUrl, OpenAIErrors, Wire
from dialects.images import image_urls
from dialects.responses.fields import TABLE
from dialects.responses.renderer import ResponsesRenderer
from dialects.responses.request import ResponsesCall, parse
from dialects.responses.wire import ResponseBody, ResponseEvent, ResponsesRequest
from models import ErrorBody

__all__ = ["DIALECT", "ResponsesCall", "ResponsesDialect", "ResponsesRenderer", "ResponsesRequest"]


class ResponsesDialect(OpenAIErrors):
    name = "responses"
    wire = Wire(
        path="/v1/responses",
        request=ResponsesRequest,
        body=ResponseBody,
        events=(ResponseEvent,),
        error=ErrorBody,
    )
    fields = TABLE

    def images(self, request: ResponsesRequest) -> list[ImageUrl]:
        """Those of messages and of tool outputs."""
        return [
            image
            for index, item in enumerate(request.input if isinstance(request.input, list) else ())
            for name in ("content", "output")
            for image in image_urls(item.get(name), f"input[{index}].{name}")
        ]

    def parse(self, request: ResponsesRequest, context: Context) -> ResponsesCall:
        return parse(request, context)

    def renderer(self, call: ResponsesCall) -> ResponsesRenderer:
        return ResponsesRenderer(call)


DIALECT = ResponsesDialect()
