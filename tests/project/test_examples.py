"""Every example runs as it stands, against a server that requires a key; every configuration file
names this server and models that it has."""

from __future__ import annotations

import ast
import asyncio
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.harness import Gateway, gateway_at, said, system_texts

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NODE_CACHE = ROOT / ".cache" / "node-example"
INSTALL_SECONDS = 120
KEY = "sk-of-the-examples"
SERVED_ELSEWHERE = {"connection.py", "connection.sh"}


@pytest.fixture(scope="module")
async def protected(
    shared_upstream: Any, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    async with gateway_at(shared_upstream, home, api_key=KEY, pool_warm=0) as gateway:
        yield gateway


@pytest.fixture
def server(protected: Gateway, upstream: object) -> Gateway:
    """One that requires a key, with nothing recorded yet."""
    return protected


async def run(
    *command: str | Path, cwd: Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """As a reader runs it: its output is read, and its environment is made from nothing."""
    environ = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error", **variables}
    return await asyncio.to_thread(
        subprocess.run, command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=50
    )


async def done(server: Gateway, *command: str | Path, **options: Any) -> str:
    """What an example that ends well prints."""
    url = f"{server.url}/v1"
    ended = await run(*command, OPENAI_BASE_URL=url, OPENAI_API_KEY=KEY, **options)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


async def python(server: Gateway, name: str, *arguments: str) -> str:
    return await done(server, sys.executable, EXAMPLES / name, *arguments)


def asked(server: Gateway, number: int = -1) -> list[tuple[str, list[dict[str, Any]]]]:
    """Roles and blocks of what the model received."""
    return [said(message) for message in server.upstream.requests[number].messages]


async def test_chat_goes_on_with_its_first_answer(server: Gateway) -> None:
    shown = await python(server, "chat.py")
    assert [role for role, _ in asked(server)] == ["user", "assistant", "user"]
    assert system_texts(server.upstream.requests[-1].body)[-1] == "You are a patient teacher."
    assert 'you said "And for a child?"' in shown
    assert re.search(r"\d+ tokens asked, \d+ answered", shown)


async def test_streaming_shows_the_answer_and_when_it_began(server: Gateway) -> None:
    shown = await python(server, "chat_streaming.py")
    assert shown.startswith('Demo model: you said "Write a short poem about rivers.".')
    assert re.search(r"\n\d+ tokens, the first after \d+ ms\n", shown)


async def test_function_tools_sends_back_what_the_function_returned(server: Gateway) -> None:
    shown = await python(server, "function_tools.py")
    *_, (role, [result]) = asked(server)
    assert (role, result["type"]) == ("user", "tool_result")
    assert "17" in json.dumps(result["content"])
    assert "-> get_weather({" in shown
    assert "17" in shown.splitlines()[-1]


async def test_structured_output_gives_an_instance_of_the_class(server: Gateway) -> None:
    assert (await python(server, "structured_output.py")).startswith("Meeting(title=")
    schema = server.upstream.requests[-1].body["output_config"]["format"]["schema"]
    assert list(schema["properties"]) == ["title", "day", "people"]


async def test_images_shows_the_model_the_named_file_or_its_own(
    server: Gateway, tmp_path: Path
) -> None:
    file = tmp_path / "image.gif"
    file.write_bytes(b"GIF89a\x01\x00\x01\x00\x00\x00\x00;")
    shown = await asyncio.gather(
        python(server, "images.py"), python(server, "images.py", str(file))
    )
    assert all("What do you see?" in text for text in shown)
    images = [said(request.messages[0])[1][1] for request in server.upstream.requests]
    kinds = sorted(image["source"]["media_type"] for image in images)
    assert kinds == ["image/gif", "image/png"]


async def test_tools_lets_claude_read_and_the_program_answer(server: Gateway) -> None:
    step = [[{"name": "Read", "input": {"file_path": "invoice.csv"}}]]
    question = f'!demo steps={json.dumps(step)} text="125 euros."\nThe sum?'
    shown = await python(server, "tools_example.py", question)
    assert re.search(r"\nRead invoice.csv → \d lines\n125 euros\.\n", shown)
    assert shown.count("-> get_rate({") == 2
    names = [[t["name"] for t in r.body.get("tools", [])] for r in server.upstream.requests]
    assert [sorted(of_request) for of_request in names] == [
        *[["Glob", "Read"]] * 2,
        *[["get_rate"]] * 2,
        *[["Glob", "Read", "get_rate"]] * 2,
    ]
    assert "chair,85" in json.dumps(asked(server, 1))
    assert "1.25" in json.dumps(asked(server))
    assert shown.endswith("invoice.csv, 28 bytes, is deleted with the session.\n")


async def test_langchain_chains_streams_and_calls_its_tool(server: Gateway) -> None:
    shown = await python(server, "langchain_chain.py")
    streamed = server.upstream.requests[0]
    assert system_texts(streamed.body)[-1] == "Translate to French."
    assert [tool["name"] for tool in server.upstream.requests[1].body["tools"]] == ["multiply"]
    assert asked(server)[-1][1][0]["type"] == "tool_result"
    assert 'you said "Good day"' in shown


async def test_anthropics_client_asks_streams_and_runs_its_function(server: Gateway) -> None:
    shown = await python(server, "anthropic_client.py")
    first, streamed, *_ = server.upstream.requests
    assert first.system == "You are a patient teacher."
    assert 'you said "Write a short poem about rivers."' in shown
    assert streamed.body["stream"]
    assert asked(server)[-1][1][0]["type"] == "tool_result"
    assert re.search(r"\d+ tokens read, \d+ written", shown)


async def test_langchains_chat_anthropic_streams_and_calls_its_tool(server: Gateway) -> None:
    shown = await python(server, "langchain_claude.py")
    assert server.upstream.requests[0].system == "Translate to French."
    assert asked(server)[-1][1][0]["type"] == "tool_result"
    assert 'you said "Good day"' in shown


async def test_anthropics_client_for_node_asks_and_streams(server: Gateway) -> None:
    cache = ROOT / ".cache" / "clients"
    if not (cache / "node_modules" / "@anthropic-ai" / "sdk").is_dir():
        pytest.skip("@anthropic-ai/sdk is not installed: run `make clients`")
    script = (EXAMPLES / "node-anthropic" / "messages.mjs").read_text()
    variables = {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": KEY}
    ended = await run("node", "--input-type=module", "-e", script, cwd=cache, **variables)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert 'you said "Why is the sky blue?"' in ended.stdout
    assert 'you said "Write a short poem about rivers."' in ended.stdout


async def test_responses_go_on_stream_and_work_in_the_background(server: Gateway) -> None:
    shown = await python(server, "responses.py")
    assert [role for role, _ in asked(server, 1)] == ["user", "assistant", "user"]
    assert "You are a patient teacher." not in system_texts(server.upstream.requests[1].body)
    assert 'you said "Write a haiku about rivers."' in shown
    assert shown.endswith('completed Demo model: you said "Name three rivers.".\n')


async def test_an_agent_uses_its_function(server: Gateway) -> None:
    shown = await python(server, "agents_example.py")
    assert asked(server)[-1][1][0]["type"] == "tool_result"
    assert shown.startswith("Guide: ")
    assert "17 in" in shown


async def test_the_sessions_remember_and_are_deleted(server: Gateway) -> None:
    shown = await python(server, "session_continuity.py")
    assert [role for role, _ in asked(server)] == ["user", "assistant", "user"]
    assert "4 messages, $" in shown
    shown = await done(server, "sh", EXAMPLES / "session_curl_example.sh")
    assert [role for role, _ in asked(server)] == ["user", "assistant", "user"]
    assert '"message_count":4' in shown
    listed = await server.http.get("/v1/sessions", headers={"Authorization": f"Bearer {KEY}"})
    assert listed.json()["data"] == []


async def test_curl_chats_streams_and_is_called_back(server: Gateway) -> None:
    shown = await done(server, "sh", EXAMPLES / "curl_example.sh")
    assert 'you said \\"Hello\\"' in shown
    assert "data: [DONE]" in shown
    assert '"name":"get_weather"' in shown


@pytest.fixture(scope="session")
def node() -> Path:
    """The folder of the Node example, with the locked package installed into a cache beside it."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"the Node example needs {' and '.join(missing)} (Debian: apt install npm)")
    NODE_CACHE.mkdir(parents=True, exist_ok=True)
    with (NODE_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other workers of this run
        for name in ("package.json", "package-lock.json", "chat.mjs"):
            shutil.copy(EXAMPLES / "node" / name, NODE_CACHE)
        if locked_openai("package-lock.json") != locked_openai("node_modules/.package-lock.json"):
            install_openai()
    return NODE_CACHE


def locked_openai(lock: str) -> str | None:
    path = NODE_CACHE / lock
    if not path.is_file():
        return None
    version: str = json.loads(path.read_text())["packages"]["node_modules/openai"]["version"]
    return version


def install_openai() -> None:
    ended = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=NODE_CACHE,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if ended.returncode:
        pytest.skip(f"npm could not install the openai package: {ended.stderr[-300:]}")


@pytest.mark.timeout(INSTALL_SECONDS + 60)
async def test_node_chats_streams_and_runs_its_function(server: Gateway, node: Path) -> None:
    shown = await done(server, "node", "chat.mjs", cwd=node)
    assert "Write a short poem about rivers." in shown
    assert "17" in shown.splitlines()[-1]
    assert asked(server)[-1][1][0]["type"] == "tool_result"


def test_the_lock_of_the_node_example_names_no_place_to_load_from() -> None:
    text = (EXAMPLES / "node" / "package-lock.json").read_text()
    assert "://" not in text
    assert json.loads(text)["packages"]["node_modules/openai"]["integrity"]


CHECK = "import connection; connection.check()"
REFUSED = {"python": (sys.executable, "-c", CHECK), "sh": ("sh", "curl_example.sh")}


@pytest.mark.parametrize("command", REFUSED.values(), ids=REFUSED)
async def test_an_example_says_what_is_missing(server: Gateway, command: tuple[str, ...]) -> None:
    url = f"{server.url}/v1"
    keyless = await run(*command, cwd=EXAMPLES, OPENAI_BASE_URL=url)
    assert keyless.returncode == 1
    assert keyless.stderr == f"The server at {url} requires an API key: set OPENAI_API_KEY.\n"
    nowhere = await run(*command, cwd=EXAMPLES, OPENAI_BASE_URL="http://127.0.0.1:1/v1")
    assert nowhere.returncode == 1
    assert nowhere.stderr.startswith("No server at http://127.0.0.1:1/v1. Start one: ")


@pytest.mark.timeout(INSTALL_SECONDS + 60)
async def test_the_node_example_says_what_is_missing(server: Gateway, node: Path) -> None:
    url = f"{server.url}/v1"
    keyless = await run("node", "chat.mjs", cwd=node, OPENAI_BASE_URL=url)
    assert keyless.returncode == 1
    assert keyless.stderr == f"The server at {url} requires an API key: set OPENAI_API_KEY.\n"


def scripts(suffix: str) -> list[Path]:
    return sorted(EXAMPLES.glob(f"*{suffix}"))


@pytest.mark.parametrize("path", scripts(".py"), ids=lambda path: path.name)
def test_every_python_example_looks_for_its_server_and_key_first(path: Path) -> None:
    if path.name == "connection.py":
        return
    calls = [ast.unparse(node) for node in ast.parse(path.read_text()).body]
    assert "connection.check()" in calls


def test_every_shell_example_looks_for_its_server_and_key_first() -> None:
    for path in scripts(".sh"):
        assert path.name == "connection.sh" or '/connection.sh"\n' in path.read_text()


def test_every_example_is_run_here_and_listed() -> None:
    tests, listed = Path(__file__).read_text(), (EXAMPLES / "README.md").read_text()
    for path in (*scripts(".py"), *scripts(".sh")):
        if path.name in SERVED_ELSEWHERE:
            continue
        assert f'"{path.name}"' in tests, f"{path.name} is not run"
        assert f"({path.name})" in listed, f"{path.name} is not listed"
    for folder in (path for path in EXAMPLES.iterdir() if path.is_dir() and path.name[0] != "_"):
        assert f"({folder.name}/" in listed, f"{folder.name} is not listed"


# Configuration of other programs


def load(path: str) -> Any:
    text = (EXAMPLES / path).read_text()
    return json.loads(text) if path.endswith(".json") else yaml.safe_load(text)


def open_webui() -> list[tuple[str, str]]:
    environ = load("open-webui/compose.yaml")["services"]["open-webui"]["environment"]
    default = re.fullmatch(r"\$\{OPENAI_BASE_URL:-(.*)\}", environ["OPENAI_API_BASE_URL"])
    assert default
    return [(default[1], environ[name]) for name in ("DEFAULT_MODELS", "TASK_MODEL_EXTERNAL")]


def librechat() -> list[tuple[str, str]]:
    [endpoint] = load("librechat/librechat.yaml")["endpoints"]["custom"]
    assert endpoint["apiKey"] == "${CLAUDE_CODE_API_KEY}"
    models = [*endpoint["models"]["default"], endpoint["titleModel"]]
    return [(endpoint["baseURL"], model) for model in models]


def continue_dev() -> list[tuple[str, str]]:
    config = load("continue/config.yaml")
    assert (config["schema"], {model["provider"] for model in config["models"]}) == (
        "v1",
        {"openai"},
    )
    return [(model["apiBase"], model["model"]) for model in config["models"]]


def aider() -> list[tuple[str, str]]:
    config = load("aider/.aider.conf.yml")
    models = [config["model"], config["weak-model"]]
    assert all(model.startswith("openai/") for model in models)
    return [(config["openai-api-base"], model.removeprefix("openai/")) for model in models]


def codex() -> list[tuple[str, str]]:
    config = tomllib.loads((EXAMPLES / "codex" / "config.toml").read_text())
    provider = config["model_providers"][config["model_provider"]]
    assert (provider["wire_api"], provider["env_key"]) == ("responses", "OPENAI_API_KEY")
    [model] = load(f"codex/{config['model_catalog_json']}")["models"]
    assert model["slug"] == config["model"]
    return [(provider["base_url"], model["slug"])]


def n8n() -> list[tuple[str, str]]:
    workflow = load("n8n/workflow.json")
    start, ask = workflow["nodes"]
    assert workflow["connections"][start["name"]]["main"][0][0]["node"] == ask["name"]
    base_url, path = ask["parameters"]["url"].split("/chat/")
    assert path == "completions"
    return [(base_url, json.loads(ask["parameters"]["jsonBody"])["model"])]


@pytest.mark.parametrize("program", [open_webui, librechat, continue_dev, aider, codex, n8n])
async def test_the_configuration_names_the_server_and_models_that_it_has(
    server: Gateway, program: Any
) -> None:
    named = program()
    assert named
    for base_url, model in named:
        assert re.fullmatch(r"http://(localhost|host\.docker\.internal):8000/v1", base_url)
        answer = await server.http.get(
            f"/v1/models/{model}", headers={"Authorization": f"Bearer {KEY}"}
        )
        assert answer.status_code == 200, model


async def test_what_the_n8n_workflow_sends_is_answered(server: Gateway) -> None:
    ask = load("n8n/workflow.json")["nodes"][1]["parameters"]
    answer = await server.http.post(
        "/v1/chat/completions",
        content=ask["jsonBody"],
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    assert answer.json()["choices"][0]["message"]["content"]
