"""What `make install` and `make upgrade` say of the SDK, with a scripted Poetry and pip."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts import bootstrap

pytestmark = pytest.mark.wire

OLD, NEW, NEWEST = "0.2.1", "0.2.2", "0.2.3"
LOCK = '[[package]]\nname = "claude-agent-sdk"\nversion = "{}"\n'
PYPROJECT = '[project]\ndependencies = ["other>=1", "claude-agent-sdk>=0.2.1,<0.3"]\n'
WORKER = 'CONTRACT_TESTED_VERSIONS = frozenset({{{}}})\n"""Which."""\n'
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
INTERPRETER = f"""#!/bin/sh
cd ROOT
case "$*" in
    *poetry*update*) [ ! -e poetry-fails ] || exit 1
        sed 's/{OLD}/{NEW}/' poetry.lock >new && mv new poetry.lock ;;
    *poetry*sync*) mkdir -p .venv/lib/python3/site-packages/claude_agent_sdk
        echo '__cli_version__ = "2.2"' \
            >.venv/lib/python3/site-packages/claude_agent_sdk/_cli_version.py ;;
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
    write(tmp_path / "engine/tested_versions.py", WORKER.format('"2.1"'))
    write(tmp_path / "tests/engine/contract/test_cli.py", "")
    contract_tests_end_with(0)
    return tmp_path


def contract_tests_end_with(status: int) -> None:
    check = f"grep -q 2.2 {bootstrap.VERSIONS_FILE} || exit 9"
    script = f'#!/bin/sh\n{check}\necho "ran $@"\nexit {status}\n'
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
    assert (project / "engine/tested_versions.py").read_text() == WORKER.format('"2.1", "2.2"')
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
    assert (project / "engine/tested_versions.py").read_text() == WORKER.format('"2.1"')


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
    with pytest.raises(KeyboardInterrupt):
        bootstrap.main(["upgrade"])
    assert (project / "engine/tested_versions.py").read_text() == WORKER.format('"2.1"')


def test_the_version_that_is_trusted_is_found_in_the_real_worker() -> None:
    text = (Path(__file__).parents[2] / "engine/tested_versions.py").read_text()
    assert bootstrap.TESTED_VERSIONS.search(text)
