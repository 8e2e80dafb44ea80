"""Claude Code itself as a client: its base URL is this server's. The bundled CLI, unchanged."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import Gateway
from tests.support.mcp_time import TIME

SECONDS = 80
pytestmark = pytest.mark.timeout(SECONDS * 2 + 20)
MODEL = "claude-sonnet-5"
Json = dict[str, Any]


class ClaudeCode:
    """Asks in print mode, in a directory and a home of its own."""

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self._cli = gateway.engine.cli_path
        self.work = folder / "work"
        self.work.mkdir()
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "CLAUDE_CONFIG_DIR": str(folder / ".claude"),
            "ANTHROPIC_BASE_URL": gateway.url,
            "ANTHROPIC_API_KEY": "unused",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_AUTOUPDATER": "1",
        }

    async def ask(self, prompt: str, *arguments: str, fails: bool = False) -> Json:
        """The result of a turn, which may be an error."""
        options = ("--print", "--output-format=json", f"--model={MODEL}", "--strict-mcp-config")
        process = await asyncio.create_subprocess_exec(
            str(self._cli),
            *options,
            *arguments,
            prompt,
            env=self._environment,
            cwd=self.work,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == int(fails), (out, err)
        result: Json = json.loads(out)
        assert result["is_error"] is fails, result
        return result


@pytest.fixture
def claude(gateway: Gateway, tmp_path: Path) -> ClaudeCode:
    return ClaudeCode(gateway, tmp_path)


def steps(*calls: tuple[str, Json]) -> str:
    rounds = [[{"name": name, "input": arguments}] for name, arguments in calls]
    return f"!demo steps={json.dumps(rounds)} text=Done."


async def test_it_edits_a_file_and_goes_on_with_the_conversation(
    claude: ClaudeCode, gateway: Gateway
) -> None:
    file = claude.work / "notes.txt"
    file.write_text("one\ntwo\n")
    path = {"file_path": str(file)}
    edit = {**path, "old_string": "two", "new_string": "three"}
    first = await claude.ask(steps(("Read", path), ("Edit", edit)), "--allowedTools=Read,Edit")
    assert (first["result"], first["num_turns"]) == ("Done.", 3)
    assert file.read_text() == "one\nthree\n"
    assert len(gateway.upstream.requests) == 3
    roles = [message["role"] for message in gateway.upstream.requests[-1].messages]
    assert {"user", "assistant", "system"} == set(roles)  # its notes are the system's, in between
    second = await claude.ask("!demo recall", f"--resume={first['session_id']}")
    recalled = [said for role, said in json.loads(second["result"]) if role == "assistant"]
    assert recalled[-1] == "Done."


async def test_what_it_sends_reaches_the_model_unchanged(
    claude: ClaudeCode, gateway: Gateway
) -> None:
    await claude.ask("hi")
    [request] = gateway.upstream.requests
    assert "Claude" in request.system
    assert {"Read", "Edit", "Bash"} <= {tool["name"] for tool in request.tools}
    assert request.body["metadata"]["user_id"]
    assert "context-management-2025-06-27" in request.headers["anthropic-beta"]
    assert "context_management" in request.body


async def test_it_answers_with_an_object(claude: ClaudeCode) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    result = await claude.ask("Where?", f"--json-schema={json.dumps(schema)}")
    assert set(result["structured_output"]) == {"city"}


async def test_it_uses_a_server_of_mcp(claude: ClaudeCode, gateway: Gateway) -> None:
    config = json.dumps({"mcpServers": {"time": TIME}})
    call = ("mcp__time__get_current_time", {"timezone": "UTC"})
    result = await claude.ask(steps(call), f"--mcp-config={config}", "--allowedTools=mcp__time")
    assert result["result"] == "Done."
    blocks = [
        block
        for message in gateway.upstream.requests[-1].messages
        for block in message["content"]
        if isinstance(block, dict) and block["type"] == "tool_result"
    ]
    assert "UTC" in json.dumps(blocks)


async def test_a_refusal_is_told_as_the_api_tells_it(claude: ClaudeCode) -> None:
    result = await claude.ask("!demo error=404", fails=True)
    assert result["api_error_status"] == 404
    assert result["result"]
