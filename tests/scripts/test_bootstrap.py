"""What `make install` and `make upgrade` say of the SDK, with a scripted Poetry and pip."""

from __future__ import annotations

import signal
import sys
import tomllib
from pathlib import Path

import pytest

from scripts import bootstrap

pytestmark = pytest.mark.wire

OLD, NEW, NEWEST = "0.2.1", "0.2.2", "0.2.3"
LOCK = """[[package]]
name = "claude-agent-sdk"
version = "{}"
groups = ["main"]
files = [{{file = "sdk.whl", hash = "sha256:00"}}]

[[package]]
name = "pytest"
version = "9.1.0"
groups = ["dev"]
files = [{{file = "pytest.whl", hash = "sha256:01"}}]

[[package]]
name = "colorama"
version = "0.4.6"
groups = ["main", "dev"]
files = [{{file = "colorama.whl", hash = "sha256:02"}}]

[package.markers]
main = "platform_system == \\"Windows\\""
dev = "sys_platform == \\"win32\\""
"""
PYPROJECT = '[project]\ndependencies = ["other>=1", "claude-agent-sdk>=0.2.1,<0.3"]\n'
VERSIONS = 'CONTRACT_TESTED_VERSIONS = frozenset({{{}}})\n"""Which."""\n'
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
INTERPRETER = f"""#!/bin/sh
cd ROOT
case "$*" in
    *poetry*update*) [ ! -e poetry-fails ] || exit 1
        sed 's/{OLD}/{NEW}/' poetry.lock >new && mv new poetry.lock ;;
    *pip*install*-r*) echo "$*" >>pip.log
        [ ! -e pip-fails ] || exit 1
        for requirements; do true; done; cat "$requirements" >asked
        mkdir -p .venv/lib/python3/site-packages/claude_agent_sdk
        echo '__cli_version__ = "2.2"' \
            >.venv/lib/python3/site-packages/claude_agent_sdk/_cli_version.py ;;
    *pip*list*) echo '[{{"name": "PyTest"}}, {{"name": "left-over"}}, {{"name": "pip"}},' \
            '{{"name": "claude_agent_sdk"}}]' ;;
    *pip*uninstall*) echo "$*" >removed ;;
    *index*versions*) cat releases ;;
    *index_url*) echo '{{"index": "file:///nowhere", "cert": null, "proxy": null}}' ;;
    *) echo {PYTHON_VERSION} ;;
esac
"""


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose Poetry, pip and pytest are scripts."""
    folders = {"ROOT": ".", "VENV": ".venv", "CACHE": ".cache", "TOOL": ".cache/poetry"}
    for name, folder in folders.items():
        monkeypatch.setattr(bootstrap, name, tmp_path / folder)
    for environment in (bootstrap.VENV, bootstrap.TOOL):
        write(environment / "bin/python", INTERPRETER.replace("ROOT", str(tmp_path)), 0o755)
        write(environment / ".place", f"{environment} {PYTHON_VERSION}")
    write(bootstrap.TOOL / ".installed", " ".join(bootstrap.TOOL_REQUIREMENTS))
    write(tmp_path / "pyproject.toml", PYPROJECT)
    write(tmp_path / "releases", f"Available versions: {NEWEST}, {NEW}")
    write(tmp_path / "poetry.lock", LOCK.format(OLD))
    write(tmp_path / "engine/tested_versions.py", VERSIONS.format('"2.1"'))
    write(tmp_path / "tests/engine/contract/test_cli.py", "")
    contract_tests_end_with(0)
    return tmp_path


def contract_tests_end_with(status: int) -> None:
    trusted = "grep -q 2.2 engine/tested_versions.py || exit 9"
    script = f'#!/bin/sh\n{trusted}\necho "ran $@"\nexit {status}\n'
    write(bootstrap.VENV / "bin/pytest", script, 0o755)


def test_a_locked_release_that_is_gone_is_told_with_its_remedy(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bootstrap.explain_failure()
    said = capfd.readouterr().err
    assert f"claude-agent-sdk {OLD}, which poetry.lock names, is no longer" in said
    assert "make upgrade" in said
    assert "poetry update claude-agent-sdk" in said


def test_another_failure_is_not_put_down_to_the_release(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(project / "poetry.lock", LOCK.format(NEW))
    bootstrap.explain_failure()
    assert "no longer" not in capfd.readouterr().err


def test_an_upgrade_says_what_changed_and_names_the_version_that_passed(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bootstrap.main(["upgrade", "-k", "one"]) == 0
    said = capfd.readouterr().out
    assert f"claude-agent-sdk: {OLD} -> {NEW}\nClaude Code: none -> 2.2\nran " in said
    assert "contract/test_cli.py -k one\n" in said
    assert (project / "engine/tested_versions.py").read_text() == VERSIONS.format('"2.1", "2.2"')
    assert bootstrap.main(["upgrade"]) == 0
    said = capfd.readouterr().out
    assert f"claude-agent-sdk: {NEW}, as before\nClaude Code: 2.2, as before\n" in said
    assert "The contract tests pass with Claude Code 2.2.\n" in said


def test_an_upgrade_that_breaks_a_contract_trusts_nothing_new_and_tells_the_way_back(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    contract_tests_end_with(1)
    assert bootstrap.main(["upgrade"]) == 1
    assert "git checkout poetry.lock && make install" in capfd.readouterr().err
    assert (project / "engine/tested_versions.py").read_text() == VERSIONS.format('"2.1"')


def test_an_upgrade_without_any_release_of_the_range_names_the_range(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(project / "releases", "Available versions: 0.3.1, 0.3.0")
    write(project / "poetry-fails", "")
    assert bootstrap.main(["upgrade"]) == 1
    said = capfd.readouterr().err
    assert "claude-agent-sdk>=0.2.1,<0.3, which pyproject.toml asks for, is no longer" in said
    assert "`make upgrade`" in said


def test_the_real_range_has_the_two_bounds_that_are_read() -> None:
    assert bootstrap.in_range(bootstrap.sdk_version(), bootstrap.sdk_range())
    assert not bootstrap.in_range("99.0.0", bootstrap.sdk_range())


def test_contract_tests_that_are_interrupted_leave_nothing_trusted(project: Path) -> None:
    script = f"#!{sys.executable}\nimport os, signal\nos.kill(os.getppid(), signal.SIGINT)\n"
    write(bootstrap.VENV / "bin/pytest", script, 0o755)
    # What a shell starts in the background ignores the interrupt.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            bootstrap.main(["upgrade"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert (project / "engine/tested_versions.py").read_text() == VERSIONS.format('"2.1"')


def test_the_version_that_is_trusted_is_found_in_the_real_file() -> None:
    text = (Path(__file__).parents[2] / bootstrap.TESTED).read_text()
    assert bootstrap.TESTED_VERSIONS.search(text)


def asked(project: Path) -> list[str]:
    """The names that pip was asked for."""
    lines = (project / "asked").read_text().splitlines()
    return [line.partition("==")[0] for line in lines]


def test_the_server_and_the_demo_are_set_up_without_the_tests_tools(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bootstrap.main(["install", "--compile"]) == 0
    assert asked(project) == ["claude-agent-sdk", "colorama"]
    said = capfd.readouterr().err
    assert said == f"Loading {bootstrap.SIZES['main']}\n"
    options = (project / "pip.log").read_text()
    for option in ("--compile", "--no-cache-dir", "--require-hashes"):
        assert option in options
    assert list((project / ".cache").glob("*.txt")) == []


def test_a_group_that_was_asked_for_stays_when_less_is_asked_for(project: Path) -> None:
    assert bootstrap.main(["install", "dev"]) == 0
    assert asked(project) == ["claude-agent-sdk", "pytest", "colorama"]
    (project / "asked").unlink()
    assert bootstrap.main(["install"]) == 0
    assert not (project / "asked").exists(), "it was current"
    write(project / "poetry.lock", LOCK.format(NEW))
    assert bootstrap.main(["install"]) == 0
    assert asked(project) == ["claude-agent-sdk", "pytest", "colorama"]


def test_a_release_is_installed_by_its_hashes_and_where_one_of_the_groups_needs_it(
    project: Path,
) -> None:
    bootstrap.main(["install"])
    line = (project / "asked").read_text().splitlines()[-1]
    assert line == 'colorama==0.4.6 ; (platform_system == "Windows") --hash=sha256:02'
    bootstrap.main(["install", "dev"])
    line = (project / "asked").read_text().splitlines()[-1]
    both = '(sys_platform == "win32") or (platform_system == "Windows")'
    assert line == f"colorama==0.4.6 ; {both} --hash=sha256:02"


def test_what_the_lock_does_not_name_is_removed(project: Path) -> None:
    bootstrap.main(["install", "dev"])
    assert (project / "removed").read_text().split()[-2:] == ["--yes", "left-over"]


def test_a_set_up_that_failed_is_tried_again(project: Path) -> None:
    write(project / "pip-fails", "")
    assert bootstrap.main(["install"]) == 1
    (project / "pip-fails").unlink()
    assert bootstrap.main(["install"]) == 0
    assert asked(project) == ["claude-agent-sdk", "colorama"]


def test_a_group_that_does_not_exist_is_named(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bootstrap.main(["install", "tset"]) == 2
    assert capfd.readouterr().err == "There is no group tset.\n"


def test_every_group_of_the_project_has_a_size_that_is_told() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert set(bootstrap.SIZES) == {"main", *project["dependency-groups"]}
