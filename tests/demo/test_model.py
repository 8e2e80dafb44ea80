"""The rules of the demo model, without a server."""

import json
from typing import Any

import pytest

from demo import answer as answers
from demo import conversation, directives
from demo.answer import Answer
from demo.blocks import signature_of
from demo.errors import ApiError
from demo.model import DemoModel
from tests.demo.test_validation import check

WEATHER = {
    "name": "get_weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}

SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def ask(text: str, **body: Any) -> Answer:
    return tell([{"role": "user", "content": text}], **body)


def tell(messages: list[dict[str, Any]], **body: Any) -> Answer:
    request = {"max_tokens": 1000, "messages": messages, **body}
    talk = conversation.read(request, "claude-demo")
    asks = directives.read(directives.pairs(talk.system) | directives.pairs(talk.asked))
    model = DemoModel()
    model.check(talk, asks)
    return model.answer(talk, asks, 10)


def text(answer: Answer) -> str:
    content = json.loads(answers.body(answer))["content"]
    return "".join(block.get("text", "") for block in content)


def calls(answer: Answer) -> list[tuple[str, Any]]:
    content = json.loads(answers.body(answer))["content"]
    return [(block["name"], block["input"]) for block in content if block["type"] == "tool_use"]


def round_of(call_id: str, name: str, result: str) -> list[dict[str, Any]]:
    call = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    answer = {"type": "tool_result", "tool_use_id": call_id, "content": result}
    return [{"role": "assistant", "content": [call]}, {"role": "user", "content": [answer]}]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_a_plain_answer_says_that_it_is_the_demo_model() -> None:
    assert text(ask("Hello you")) == 'Demo model: you said "Hello you".'


def test_the_echo_passes_over_what_claude_code_adds() -> None:
    blocks = ["<system-reminder>x</system-reminder>", "Hello", "[Image: source: /tmp/1.png]"]
    content = [{"type": "text", "text": each} for each in blocks]
    assert text(tell([user(content)])) == 'Demo model: you said "Hello".'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('text="exact answer"', "exact answer"),
        ('text="two\\nlines"', "two\nlines"),
        ("text='single quotes'", "single quotes"),
        ('json={"a": [1, 2]}', '{"a": [1, 2]}'),
        ("tokens=3", "word1 word2 word3"),
        ("empty=true", ""),
        ("empty", ""),
        ("recall=true", '[["user", "!demo recall=true"]]'),
    ],
)
def test_a_directive_decides_the_text(line: str, said: str) -> None:
    assert text(ask(f"!demo {line}")) == said


def test_tokens_are_deltas_and_output_tokens() -> None:
    answer = ask("!demo tokens=200")
    deltas = [event for event in answers.events(answer) if event.is_delta]
    assert len(deltas) == 200
    assert json.loads(answers.body(answer))["usage"]["output_tokens"] == 200


def test_the_system_prompt_gives_what_the_user_does_not() -> None:
    assert text(ask("!demo chars=2", system="!demo text=hidden chars=99")) == "hidden"


def test_a_misspelt_directive_is_refused() -> None:
    with pytest.raises(ApiError, match="unknown key 'token'"):
        ask("!demo token=3")


@pytest.mark.parametrize("line", ["tokens=many", "json={a}", "hang=maybe", "delay_after=3", "=x"])
def test_an_unusable_value_is_refused(line: str) -> None:
    with pytest.raises(ApiError, match="!demo"):
        ask(f"!demo {line}")


def test_max_tokens_cuts_the_answer() -> None:
    answer = ask("!demo tokens=9", max_tokens=4)
    assert (text(answer), answer.stop_reason) == ("word1 word2 word3 word4 ", "max_tokens")


def test_a_stop_sequence_cuts_the_text_before_it() -> None:
    answer = ask("!demo tokens=9", stop_sequences=["word7", "word3"])
    assert text(answer) == "word1 word2 "
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "word3")


def test_a_call_gets_arguments_from_the_schema() -> None:
    answer = ask("!demo call=get_weather say=wait", tools=[WEATHER])
    assert text(answer) == "wait"
    assert calls(answer) == [("get_weather", {"city": "demo"})]
    assert answer.stop_reason == "tool_use"


def test_explicit_arguments_and_parallel_calls() -> None:
    answer = ask('!demo call=a,b,a args=[{"n": 1}, {"n": 2}]')
    assert calls(answer) == [("a", {"n": 1}), ("b", {"n": 2}), ("a", {})]
    answer = ask('!demo calls=[{"name": "Read", "input": {"file_path": "/x"}}, "b"]')
    assert calls(answer) == [("Read", {"file_path": "/x"}), ("b", {})]


def test_parallel_calls_can_be_forbidden() -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    answer = ask("!demo call=get_weather,get_weather", tools=[WEATHER], tool_choice=choice)
    assert len(calls(answer)) == 1


def test_a_tool_named_in_the_text_is_called_once() -> None:
    asked = user("please get_weather for Rome")
    assert calls(tell([asked], tools=[WEATHER])) == [("get_weather", {"city": "demo"})]
    answer = tell([asked, *round_of("t1", "get_weather", "sunny")], tools=[WEATHER])
    assert text(answer) == "Demo model: tool results: get_weather: sunny"


def test_plain_words_do_not_call_claude_codes_builtin_tools() -> None:
    own = {"name": "Write", "input_schema": {"type": "object"}}
    assert not calls(ask("Write a poem", tools=[own]))


@pytest.mark.parametrize(
    ("choice", "called"),
    [({"type": "any"}, 1), ({"type": "tool", "name": "get_weather"}, 1), ({"type": "none"}, 0)],
)
def test_tool_choice_decides(choice: dict[str, str], called: int) -> None:
    said = "get_weather" if choice["type"] == "none" else "hello"
    assert len(calls(ask(said, tools=[WEATHER], tool_choice=choice))) == called


def test_steps_script_an_agent_loop() -> None:
    talk = [user('!demo steps=[["a"], ["b", {"name": "b", "input": {"n": 1}}]]')]
    assert calls(tell(talk)) == [("a", {})]
    talk += round_of("t1", "a", "one")
    assert calls(tell(talk)) == [("b", {}), ("b", {"n": 1})]
    talk += round_of("t2", "b", "two")
    assert text(tell(talk)) == "Demo model: tool results: b: two"


def test_faults_belong_to_one_round() -> None:
    first = [user("!demo call=a error=500 round=1")]
    assert calls(tell(first)) == [("a", {})]
    with pytest.raises(ApiError, match="Internal"):
        tell([*first, *round_of("t1", "a", "x")])


def test_an_output_schema_is_followed() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    config = {"format": {"type": "json_schema", "schema": schema}}
    assert text(ask("hello", output_config=config)) == '{"a": 1}'


def test_a_structured_output_tool_is_called_once() -> None:
    tool = {"name": "StructuredOutput", "input_schema": {"type": "object"}}
    assert calls(ask("hello", tools=[tool])) == [("StructuredOutput", {})]
    talk = [user("hello"), *round_of("t1", "StructuredOutput", "ok")]
    assert not calls(tell(talk, tools=[tool]))


def test_thinking_comes_before_the_text_unless_it_is_disabled() -> None:
    line = '!demo thinking="let me see" text=done'
    blocks = json.loads(answers.body(ask(line)))["content"]
    assert [block["type"] for block in blocks] == ["thinking", "text"]
    assert blocks[0]["signature"] == signature_of("let me see")
    disabled = {"type": "disabled"}
    assert len(ask(line, thinking=disabled).blocks) == 1
    assert len(ask(f"{line} thinking_force", thinking=disabled).blocks) == 2


def test_errors_can_end_after_some_times() -> None:
    model = DemoModel()
    request = {"max_tokens": 9, "messages": [user("!demo error=529 error_times=2")]}
    talk = conversation.read(request, "claude-demo")
    asks = directives.read(directives.pairs(talk.asked))
    for _ in range(2):
        with pytest.raises(ApiError) as caught:
            model.check(talk, asks)
        assert (caught.value.status, caught.value.type) == (529, "overloaded_error")
    model.check(talk, asks)


def test_reject_refuses_only_what_is_there() -> None:
    with pytest.raises(ApiError, match="`temperature` is deprecated"):
        ask("!demo reject=temperature,top_p", temperature=0.5)
    assert text(ask("!demo reject=temperature text=ok")) == "ok"


@pytest.mark.parametrize(
    "line",
    [
        "tokens=7",
        'text="äöü 🙂 end" chars=2',
        'thinking="a b c" call=get_weather say="now then"',
        'call=get_weather,get_weather args={"city": "Zürich 🙂"}',
        "empty",
        "stop=refusal text=no",
        """search='a "b"' text='found it' results=3""",
        "search=q search_error=max_uses_exceeded text=no",
        "search=q pause",
        "redacted=hm text=done",
        "cite text=cited",
        "json={}",
    ],
)
def test_the_stream_says_what_the_body_says(line: str) -> None:
    answer = ask(f"!demo {line}", tools=[WEATHER, SEARCH])
    body = json.loads(answers.body(answer))
    assert _folded(answer) == body["content"]
    events = [json.loads(event.data) for event in answers.events(answer)]
    assert events[-2]["delta"]["stop_reason"] == body["stop_reason"]
    assert events[-2]["usage"]["output_tokens"] == body["usage"]["output_tokens"]
    assert [e["type"] for e in events].count("content_block_start") == len(body["content"])
    assert [e["type"] for e in events].count("content_block_stop") == len(body["content"])


def _folded(answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    arguments: dict[int, str] = {}
    for event in map(json.loads, (event.data for event in answers.events(answer))):
        match event:
            case {"type": "content_block_start", "content_block": block}:
                blocks.append(block)
            case {"delta": {"citation": citation}}:
                blocks[-1]["citations"].append(citation)
            case {"delta": {"partial_json": piece}, "index": index}:
                arguments[index] = arguments.get(index, "") + piece
            case {"type": "content_block_delta", "delta": delta}:
                for key in ("text", "thinking", "signature"):
                    if key in delta:
                        blocks[-1][key] += delta[key]
    for index, whole in arguments.items():
        blocks[index]["input"] = json.loads(whole)
    return blocks


def content(answer: Answer) -> list[dict[str, Any]]:
    return list(json.loads(answers.body(answer))["content"])


def test_a_search_shows_its_use_its_results_and_a_citation() -> None:
    answer = ask("!demo search=rome text=Mild. results=2", tools=[SEARCH])
    use, results, said = content(answer)
    assert (use["type"], use["name"], use["input"]) == (
        "server_tool_use",
        "web_search",
        {"query": "rome"},
    )
    assert results["type"] == "web_search_tool_result"
    assert results["tool_use_id"] == use["id"]
    assert [found["title"] for found in results["content"]] == ["rome 1", "rome 2"]
    assert said["citations"][0]["type"] == "web_search_result_location"
    assert answer.stop_reason == "end_turn"
    assert answer.usage.total(1)["server_tool_use"]["web_search_requests"] == 1


def test_what_a_search_gave_is_accepted_in_the_next_request() -> None:
    answer = ask("!demo search=rome text=Mild.", tools=[SEARCH])
    check([user("a"), {"role": "assistant", "content": content(answer)}, user("b")])


def test_a_search_needs_its_tool() -> None:
    with pytest.raises(ApiError, match="needs the tool web_search"):
        ask("!demo search=rome")


def test_a_paused_turn_goes_on_when_its_answer_comes_back() -> None:
    line = "!demo search=rome pause text=done"
    paused = ask(line, tools=[SEARCH])
    assert paused.stop_reason == "pause_turn"
    assert [block["type"] for block in content(paused)] == ["server_tool_use"]
    talk = [user(line), {"role": "assistant", "content": content(paused)}]
    check(talk, model="claude-opus-5")
    resumed = tell(talk, tools=[SEARCH])
    assert (text(resumed), resumed.stop_reason) == ("done", "end_turn")


def test_documents_are_cited_where_they_allow_it() -> None:
    allowed = {"citations": {"enabled": True}}
    sources: list[dict[str, Any]] = [
        {"type": "text", "media_type": "text/plain", "data": "plain"},
        {"type": "content", "content": "pieces"},
        {"type": "url", "url": "https://example.com/a.pdf"},
    ]
    documents = [{"type": "document", "source": source, **allowed} for source in sources]
    found = {
        "type": "search_result",
        "source": "s",
        "title": "t",
        "content": [{"type": "text", "text": "found"}],
        **allowed,
    }
    silent = {"type": "document", "source": sources[0]}
    line = {"type": "text", "text": "!demo cite text=done"}
    answer = tell([user([*documents, silent, found, line])])
    [block] = content(answer)
    assert [cited["type"] for cited in block["citations"]] == [
        "char_location",
        "content_block_location",
        "page_location",
        "search_result_location",
    ]
    check([user("a"), {"role": "assistant", "content": [block]}, user("b")])


def test_redacted_thinking_comes_back_as_it_went() -> None:
    hidden, said = content(ask('!demo redacted="hm" text=done'))
    assert hidden["type"] == "redacted_thinking"
    assert said["text"] == "done"
    check([user("a"), {"role": "assistant", "content": [hidden, said]}, user("b")])


def test_arguments_can_be_no_json() -> None:
    answer = ask("!demo call=get_weather bad_args='{\"city\": '", tools=[WEATHER])
    pieces = [json.loads(event.data)["delta"] for event in answers.events(answer) if event.is_delta]
    assert "".join(piece["partial_json"] for piece in pieces) == '{"city": '
    assert calls(answer) == [("get_weather", {})]
    assert answer.stop_reason == "tool_use"


def test_a_refusal_says_why() -> None:
    answer = ask('!demo stop=refusal category=cyber explanation="no" text=x')
    details = {"type": "refusal", "category": "cyber", "explanation": "no"}
    assert json.loads(answers.body(answer))["stop_details"] == details


def test_pings_come_before_the_first_block() -> None:
    kinds = [event.type for event in answers.events(ask("!demo pings=2 text=x"))]
    assert kinds[:4] == ["message_start", "ping", "ping", "content_block_start"]


def test_usage_has_its_details() -> None:
    line = '!demo cached=7 cache_write=20 cache_write_1h=10 service_tier=priority thinking="a b"'
    usage = json.loads(answers.body(ask(line)))["usage"]
    assert usage["cache_read_input_tokens"] == 7
    assert usage["cache_creation_input_tokens"] == 30
    assert usage["cache_creation"] == {
        "ephemeral_5m_input_tokens": 20,
        "ephemeral_1h_input_tokens": 10,
    }
    assert usage["service_tier"] == "priority"
    assert usage["output_tokens_details"] == {"thinking_tokens": 2}
