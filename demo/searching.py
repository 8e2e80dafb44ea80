"""What the model finds in the web and in documents: results and citations, made up by rule."""

from dataclasses import replace
from typing import Any, Final

from demo.blocks import RESULT_PREFIX, AnswerBlock, Text, ToolUse, Whole, tool_use, words
from demo.conversation import Block, Conversation, blocks_of, text_of
from demo.directives import Directive
from demo.errors import invalid

_TOOL: Final = "web_search_"
_CITED_CHARS: Final = 40


def search(talk: Conversation, asks: Directive, call_id: str, text: str) -> tuple[AnswerBlock, ...]:
    """A use of `web_search`, its results, and a text that cites the first of them.

    Raises `ApiError` 400 for a request that does not offer the tool.
    """
    if not any(str(tool.get("type")).startswith(_TOOL) for tool in talk.tools):
        raise invalid("!demo: search needs the tool web_search in the request")
    query = asks.search or ""
    use = _use(call_id, query, asks.chars)
    if asks.search_error:
        error = {"type": "web_search_tool_result_error", "error_code": asks.search_error}
        return use, _result(call_id, error), Text(words(text, asks.chars))
    found = [_found(query, number) for number in range(1, asks.results + 1)]
    cited = tuple(
        {
            "type": "web_search_result_location",
            "cited_text": f"About {query}",
            "url": result["url"],
            "title": result["title"],
            "encrypted_index": f"{RESULT_PREFIX}index",
        }
        for result in found[:1]
    )
    return use, _result(call_id, found), Text(words(text, asks.chars), cited)


def search_begun(asks: Directive, call_id: str) -> AnswerBlock:
    """A use of `web_search` alone, as it stands at the end of a paused turn."""
    return _use(call_id, asks.search or "", asks.chars)


def _use(call_id: str, query: str, chars: int) -> ToolUse:
    use = tool_use(call_id, "web_search", {"query": query}, chars)
    return replace(use, type="server_tool_use")


def _result(call_id: str, content: Any) -> Whole:
    block = {"type": "web_search_tool_result", "tool_use_id": call_id, "content": content}
    return Whole(block)


def _found(query: str, number: int) -> dict[str, Any]:
    return {
        "type": "web_search_result",
        "url": f"https://example.com/{number}",
        "title": f"{query} {number}",
        "encrypted_content": f"{RESULT_PREFIX}{number}",
        "page_age": None,
    }


def citations(talk: Conversation) -> tuple[dict[str, Any], ...]:
    """One citation of each document and search result of the request that allows it."""
    blocks = [block for message in talk.body["messages"] for block in _citable(message)]
    documents = [block for block in blocks if block["type"] == "document"]
    results = [block for block in blocks if block["type"] == "search_result"]
    return tuple(
        [_of_document(index, block) for index, block in enumerate(documents) if _allows(block)]
        + [_of_result(index, block) for index, block in enumerate(results) if _allows(block)]
    )


def _citable(message: Block) -> list[Block]:
    found = []
    for block in blocks_of(message):
        inner = block.get("content") if block.get("type") == "tool_result" else None
        found += [block, *(inner if isinstance(inner, list) else [])]
    return [block for block in found if block.get("type") in ("document", "search_result")]


def _allows(block: Block) -> bool:
    return bool((block.get("citations") or {}).get("enabled"))


def _of_document(index: int, block: Block) -> dict[str, Any]:
    source = block["source"]
    common = {"document_index": index, "document_title": block.get("title"), "file_id": None}
    match source["type"]:
        case "text":
            text = source["data"][:_CITED_CHARS]
            place = {"start_char_index": 0, "end_char_index": len(text)}
            return {"type": "char_location", "cited_text": text, **common, **place}
        case "content":
            text = text_of(source["content"])[:_CITED_CHARS]
            place = {"start_block_index": 0, "end_block_index": 1}
            return {"type": "content_block_location", "cited_text": text, **common, **place}
    place = {"start_page_number": 1, "end_page_number": 2}
    return {"type": "page_location", "cited_text": "page 1", **common, **place}


def _of_result(index: int, block: Block) -> dict[str, Any]:
    return {
        "type": "search_result_location",
        "cited_text": text_of(block["content"])[:_CITED_CHARS],
        "search_result_index": index,
        "source": block["source"],
        "title": block["title"],
        "start_block_index": 0,
        "end_block_index": 1,
    }
