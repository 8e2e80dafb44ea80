"""Clients from npm, unchanged: OpenAI's for Node, the AI SDK, and Codex, which edits files.

`make clients` installs them; without that these tests are skipped.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeGateway
from tests.engine.test_builtin_tools import script
from tests.support.harness import Gateway
from tests.support.responses_wire import received

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".cache" / "clients"
CODEX = CACHE / "node_modules" / "@openai" / "codex" / "bin" / "codex.js"
LOCK = HERE / "package-lock.json"
CATALOG = ROOT / "examples" / "codex" / "models.json"
SECONDS = 100

pytestmark = pytest.mark.timeout(SECONDS + 20)


@pytest.fixture(scope="module")
def clients() -> Path:
    """Where the clients are installed, as they are locked."""
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    installed = CACHE / "package-lock.json"
    if not CODEX.is_file() or installed.read_text() != LOCK.read_text():
        pytest.skip("the clients from npm are not installed: run `make clients`")
    return CACHE


async def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """What it prints, in an environment made from nothing."""
    ended = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "OPENAI_API_KEY": "unused", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert ended.returncode == 0, ended.stderr[-2_000:]
    return ended.stdout


async def told(gateway: Gateway, clients: Path, name: str) -> Any:
    """The object that a script prints, which stands beside this file."""
    shutil.copy(HERE / name, clients)
    shown = await run("node", name, cwd=clients, OPENAI_BASE_URL=f"{gateway.url}/v1")
    return json.loads(shown)


async def test_openai_for_node(gateway: Gateway, clients: Path) -> None:
    seen = await told(gateway, clients, "openai_node.mjs")
    assert seen["text"] == seen["polled"] == 'Demo model: you said "hi".'
    assert [role for role, _ in json.loads(seen["recalled"])] == ["user", "assistant", "user"]
    assert seen["kinds"][-1] == "response.completed"
    assert "response.output_text.delta" in seen["kinds"]
    assert (seen["streamed"], seen["parsed"]) == ("word1 word2 word3", {"city": "Rome"})
    assert seen["error"] == "APIError"


async def test_the_ai_sdk(gateway: Gateway, clients: Path) -> None:
    seen = await told(gateway, clients, "ai_sdk.mjs")
    assert seen["text"] == 'Demo model: you said "hi".'
    assert (seen["streamed"], seen["finish"]) == ("word1 word2 word3", "stop")
    assert (seen["looped"], seen["steps"]) == ("Sunny.", 2)
    assert seen["structured"] == {"city": "Rome"}
    _, results = received(gateway.upstream)[-2]["messages"][-1]
    assert results[0]["content"] == [{"type": "text", "text": "sunny in Rome"}]


async def example(gateway: Gateway, clients: Path, path: str) -> str:
    """What an example prints that needs the same packages."""
    name = path.replace("/", "-")
    shutil.copy(ROOT / "examples" / path, clients / name)
    return await run("node", name, cwd=clients, OPENAI_BASE_URL=f"{gateway.url}/v1")


async def test_the_example_for_node_goes_on_and_streams(gateway: Gateway, clients: Path) -> None:
    shown = await example(gateway, clients, "node/responses.mjs")
    assert shown.endswith('Demo model: you said "And its length?".\n')
    roles = [role for role, _ in received(gateway.upstream)[-1]["messages"]]
    assert roles == ["user", "assistant", "user"]


async def test_the_example_of_the_ai_sdk_runs_its_function(gateway: Gateway, clients: Path) -> None:
    shown = await example(gateway, clients, "ai-sdk/chat.mjs")
    assert "17 in" in shown


@dataclass(slots=True)
class Codex:
    """The Codex CLI with a home of its own and a directory to work in."""

    home: Path
    work: Path

    async def exec(self, *arguments: str) -> str:
        return await run(
            "node",
            CODEX,
            "exec",
            *arguments,
            cwd=self.work,
            HOME=str(self.home),
            CODEX_HOME=str(self.home),
        )


UNCONFINED = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
"""The scratch directory is no repository, and containers often have no sandbox of their own."""


@pytest.fixture
async def codex(gateway: Gateway, clients: Path, tmp_path: Path) -> Codex:
    return codex_at(gateway, tmp_path)


def codex_at(gateway: Gateway, tmp_path: Path) -> Codex:
    home, work = tmp_path / "codex", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    config = (ROOT / "examples" / "codex" / "config.toml").read_text()
    assert "http://localhost:8000/v1" in config
    config = config.replace("http://localhost:8000/v1", f"{gateway.url}/v1")
    (home / "config.toml").write_text(config)
    shutil.copy(CATALOG, home / "models.json")
    return Codex(home, work)


EDIT = '!demo thinking=hm text="All done." steps=' + json.dumps(
    [
        [{"name": "exec_command", "input": {"cmd": "cat notes.txt"}}],
        [
            {"name": "exec_command", "input": {"cmd": "echo checked"}},
            {
                "name": "apply_patch",
                "input": {
                    "input": "*** Begin Patch\n*** Update File: notes.txt\n@@\n-old “é”\n"
                    "+new “é”\n*** Add File: made.txt\n+by a patch\n*** End Patch\n"
                },
            },
        ],
    ]
)


async def test_codex_edits_files_in_a_loop_of_tools(gateway: Gateway, codex: Codex) -> None:
    (codex.work / "notes.txt").write_text("old “é”\n")
    shown = await codex.exec(*UNCONFINED, EDIT)
    assert shown.strip() == "All done."
    assert (codex.work / "notes.txt").read_text() == "new “é”\n"
    assert (codex.work / "made.txt").read_text() == "by a patch\n"
    first, second, third = received(gateway.upstream)
    assert second["messages"][: len(first["messages"])] == first["messages"]
    kinds = [b["type"] for _, blocks in third["messages"][-4:] for b in blocks]
    assert kinds == [
        "thinking",
        "tool_use",
        "tool_result",
        "thinking",
        "tool_use",
        "tool_use",
        "tool_result",
        "tool_result",
    ]
    assert "old “é”" in third["messages"][-3][1][0]["content"][0]["text"]


async def test_codex_gives_its_work_to_an_agent(
    make_gateway: MakeGateway, clients: Path, tmp_path: Path
) -> None:
    """The agent's tools run at the server, in its workspace, and Codex shows the answer."""
    (tmp_path / "agents").mkdir()
    agent = "---\ndescription: Writes\ntools: Write\nworkspace: work\n---\nYou write."
    (tmp_path / "agents" / "repo-helper.md").write_text(agent)
    made = tmp_path / "workspaces" / "work" / "made.txt"
    made.parent.mkdir(parents=True)
    settings: dict[str, Any] = {
        "agents_dir": tmp_path / "agents",
        "workspace_root": tmp_path / "workspaces",
        "allowed_tools": ("Write",),
    }
    async with make_gateway(**settings) as gateway:
        codex = codex_at(gateway, tmp_path)
        write = ("Write", {"file_path": "made.txt", "content": "by the agent"})
        shown = await codex.exec(*UNCONFINED, "--model", "repo-helper", script(write))
    assert shown.strip().endswith("Done.")
    assert made.read_text() == "by the agent"


async def test_codex_resumes_a_session(gateway: Gateway, codex: Codex) -> None:
    await codex.exec(*UNCONFINED, "Remember the number 7.")
    shown = await codex.exec("resume", "--last", *UNCONFINED, "!demo recall")
    assert [role for role, _ in json.loads(shown)] == ["user", "assistant", "user"]
    asked = received(gateway.upstream)[-1]["messages"][0][1]
    assert asked[-1]["text"] == "Remember the number 7."


async def test_codex_asks_for_an_answer_of_a_schema(gateway: Gateway, codex: Codex) -> None:
    schema = codex.work / "schema.json"
    schema.write_text(
        json.dumps(
            {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
                "additionalProperties": False,
            }
        )
    )
    asked = '!demo json={"city":"Rome"}'
    shown = await codex.exec(*UNCONFINED, "--output-schema", str(schema), asked)
    assert json.loads(shown) == {"city": "Rome"}
    form = gateway.upstream.requests[-1].body["output_config"]["format"]
    assert form["schema"]["properties"] == {"city": {"type": "string"}}


def test_the_lock_of_the_clients_names_no_place_to_load_from() -> None:
    text = LOCK.read_text()
    assert "://" not in text
    assert json.loads(text)["packages"]["node_modules/@openai/codex"]["integrity"]


WRITTEN = {
    "codex": ("@openai/codex/bin/codex.js", "exec", "--skip-git-repo-check"),
    "continue": ("@continuedev/cli/dist/cn.js", "-p"),
}
"""How a client that `connect` wrote settings for is asked one thing."""


@pytest.mark.parametrize("client", WRITTEN)
async def test_a_client_uses_the_settings_that_connect_wrote(
    gateway: Gateway, clients: Path, tmp_path: Path, client: str
) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    program, *arguments = WRITTEN[client]
    connect = ("connect", client, "--url", gateway.url, "--yes")
    await run(sys.executable, ROOT / "main.py", *connect, cwd=work, HOME=str(home))
    entry = clients / "node_modules" / program
    shown = await run("node", entry, *arguments, "hello there", cwd=work, HOME=str(home))
    assert "hello there" in json.dumps(received(gateway.upstream)[-1])
    assert "Demo model: you said" in shown
