"""Skills through the real CLI: the model is told of them, reads them and cannot change them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from demo import FakeAnthropic
from tests.engine.test_builtin_tools import Step, bash, script
from tests.support.harness import Gateway, gateway_at, said
from tests.support.wire import URL, asking

AGENT = "---\ndescription: x\ntools: all\nskills: greeting\nworkspace: work\n---\nYou help."
SKILL = "---\nname: greeting\ndescription: How people are greeted here.\n---\nSay Ahoy.\n"


@pytest.fixture
async def gateway(upstream: FakeAnthropic, tmp_path: Path) -> AsyncIterator[Gateway]:
    for name in ("greeting", "other"):
        folder = tmp_path / "agents" / "skills" / name
        folder.mkdir(parents=True)
        (folder / "SKILL.md").write_text(SKILL.replace("greeting", name))
        (folder / "names.txt").write_text(f"{name}: Ada")
    (tmp_path / "agents" / "greeter.md").write_text(AGENT)
    (tmp_path / "workspaces" / "work").mkdir(parents=True)
    allowed = ("Read", "Write", "Edit", "Bash")
    settings: dict[str, Any] = {"agents_dir": tmp_path / "agents", "allowed_tools": allowed}
    async with gateway_at(upstream, tmp_path, **settings) as gateway:
        yield gateway


def place(tmp_path: Path, file: str, skill: str = "greeting") -> str:
    return str(tmp_path / "agents" / "skills" / skill / file)


def files(tmp_path: Path) -> dict[str, str]:
    """What the skill's directory holds."""
    return {path.name: path.read_text() for path in Path(place(tmp_path, "")).iterdir()}


async def results(gateway: Gateway, *steps: Step) -> list[str]:
    """What the model got for its uses of tools."""
    body = {**asking(script(*steps)), "model": "greeter"}
    assert (await gateway.http.post(URL, json=body)).status_code == 200
    messages = gateway.upstream.requests[-1].messages
    blocks = [block for message in messages for block in said(message)[1]]
    return [str(block["content"]) for block in blocks if block["type"] == "tool_result"]


async def test_the_model_is_told_of_its_skills_and_reads_them(
    gateway: Gateway, tmp_path: Path
) -> None:
    read = [("Read", {"file_path": place(tmp_path, name)}) for name in ("SKILL.md", "names.txt")]
    skill, names = await results(gateway, *read)
    assert "Say Ahoy." in skill
    assert "greeting: Ada" in names
    system = str(gateway.upstream.requests[0].body["system"])
    assert "You help.\\n\\n<available_skills>" in system
    assert f"<location>{place(tmp_path, 'SKILL.md')}</location>" in system
    assert "other" not in system


async def test_a_skill_cannot_be_changed(gateway: Gateway, tmp_path: Path) -> None:
    path = place(tmp_path, "names.txt")
    edit = {"file_path": path, "old_string": "Ada", "new_string": "Eve"}
    read, edited, written = await results(
        gateway,
        ("Read", {"file_path": path}),
        ("Edit", edit),
        ("Write", {"file_path": place(tmp_path, "new.txt"), "content": "x"}),
    )
    assert "Ada" in read
    assert "denied" in edited
    assert "denied" in written
    assert files(tmp_path) == {"SKILL.md": SKILL, "names.txt": "greeting: Ada"}


async def test_what_the_agent_does_not_name_is_out_of_its_reach(
    gateway: Gateway, tmp_path: Path
) -> None:
    (result,) = await results(
        gateway, ("Read", {"file_path": place(tmp_path, "SKILL.md", "other")})
    )
    assert "confines the file tools" in result


async def test_a_command_finds_a_skills_files(gateway: Gateway, tmp_path: Path) -> None:
    (result,) = await results(gateway, bash(f"cat {place(tmp_path, 'names.txt')}"))
    assert "greeting: Ada" in result
