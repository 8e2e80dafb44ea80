"""Directories of skills: what is read of them, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolbox.agent_files import AgentError, read_agent
from toolbox.agents import Agents
from toolbox.skills import Skill, listing, read_skill

PDF = """\
---
name: pdf
description: >
  Fills in forms
  & reads them.
license: MIT
---
Use pdftk.
"""
AGENT = "---\ndescription: x\ntools: Read\nskills: {}\n---"


def written(root: Path, text: str | bytes, name: str = "pdf") -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SKILL.md").write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def test_a_skill_has_its_name_what_it_is_for_and_its_place(tmp_path: Path) -> None:
    found = read_skill(written(tmp_path, PDF), "pdf")
    assert found == Skill("pdf", "Fills in forms & reads them.", tmp_path / "pdf")


def test_a_directory_behind_a_link_has_its_real_place(tmp_path: Path) -> None:
    written(tmp_path / "elsewhere", PDF)
    (tmp_path / "pdf").symlink_to(tmp_path / "elsewhere" / "pdf")
    assert read_skill(tmp_path, "pdf").directory == tmp_path / "elsewhere" / "pdf"


def test_windows_lines_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + PDF.replace("\n", "\r\n").encode()
    assert read_skill(written(tmp_path, text), "pdf").name == "pdf"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Use pdftk.", "SKILL.md, line 1: must begin with a line ---"),
        ("---\nname: pdf\n", "SKILL.md, line 2: the front matter has no end"),
        ("---\n- a\n---\n", "needs the fields name and description"),
        ("---\nname: other\ndescription: x\n---\n", "the name in SKILL.md must be"),
        ("---\nname: pdf\n---\n", "needs a description"),
        ("---\nname: pdf\ndescription: ' '\n---\n", "needs a description"),
        (f"---\nname: pdf\ndescription: {'x' * 1025}\n---\n", "needs a description"),
        ("---\nname: [\n---\n", "is not UTF-8 text with YAML"),
        (b"\xff", "is not UTF-8 text with YAML"),
        (PDF + "x" * 300_000, "has more than 262144 bytes"),
    ],
)
def test_what_is_wrong_with_a_skill_is_said(tmp_path: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^pdf: {reason}|^pdf: SKILL.md {reason}"):
        read_skill(written(tmp_path, text), "pdf")


@pytest.mark.parametrize("name", ["../pdf", "PDF", "a--b", "-a", "", "x" * 65, "."])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a skill"):
        read_skill(tmp_path, name)


def test_the_listing_is_what_a_prompt_can_hold(tmp_path: Path) -> None:
    assert listing(()) == ""
    text = listing([Skill("pdf", "For <pdf> & co.", Path("/a b"))])
    assert "<description>For &lt;pdf&gt; &amp; co.</description>" in text
    assert "<location>/a b/SKILL.md</location>" in text


def test_a_path_that_a_rule_cannot_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the path of its directory"):
        read_skill(written(tmp_path / "a,b", PDF), "pdf")


def test_an_agent_names_its_skills(tmp_path: Path) -> None:
    written(tmp_path / "skills", PDF)
    (tmp_path / "a.md").write_text(AGENT.format("pdf"))
    assert [skill.name for skill in read_agent(tmp_path / "a.md", tmp_path).skills] == ["pdf"]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (AGENT.format("gone"), 4, "skills: gone: SKILL.md cannot be read: No such file"),
        (AGENT.format("pdf").replace("Read", "Bash"), 2, "skills need the tool Read"),
    ],
)
def test_what_is_wrong_in_an_agents_file_is_named(
    tmp_path: Path, text: str, line: int, reason: str
) -> None:
    written(tmp_path / "skills", PDF)
    (tmp_path / "a.md").write_text(text)
    with pytest.raises(AgentError) as raised:
        read_agent(tmp_path / "a.md", tmp_path)
    assert raised.value.line == line
    assert raised.value.reason.startswith(reason)


async def test_a_changed_skill_counts_without_a_change_of_the_agent(tmp_path: Path) -> None:
    now = 0.0
    written(tmp_path / "skills", PDF)
    (tmp_path / "a.md").write_text(AGENT.format("pdf"))
    agents = Agents(tmp_path, tmp_path, clock=lambda: now)
    written(tmp_path / "skills", PDF.replace("Fills in forms", "Fills in a form"))
    now = 2.0
    found = await agents.find("a")
    assert found is not None
    assert found.skills[0].description.startswith("Fills in a form")
