"""House rules: imports point one way, files stay small, only edges print (ARCHITECTURE.md)."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = {".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".sh", ".example", ""}


def files(suffixes: set[str]) -> list[Path]:
    """The project's own: caches and environments stand in folders with a dot, and so does Git's
    own, which is a file in a worktree."""
    found = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    for folder in ROOT.iterdir():
        if folder.is_dir() and (folder.name == ".ci" or folder.name[0] not in "._"):
            found += [path for path in folder.rglob("*") if path.is_file()]
    return sorted(path for path in found if path.suffix in suffixes)


PYTHON = [path for path in files({".py"}) if not path.name.startswith(".")]
TOP = {path.stem for path in ROOT.glob("*.py")}
FOLDERS = {"dialects", "routes", "stores", "demo"}
OURS = TOP | FOLDERS
MODULES = [
    path for path in PYTHON if path.parent == ROOT or path.relative_to(ROOT).parts[0] in FOLDERS
]


def name_of(path: Path) -> str:
    """`routes.chat`, or `pool` for a module at the top."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> set[str]:
    """The dotted names of all modules that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def ours(path: Path) -> set[str]:
    return tops(path) & OURS


IMPORTS_NOTHING_OF_OURS = {"events", "errors", "settings", "sse"}
SPEAKS_WITH_THE_SDK = {"launch", "worker", "transport", "cli_events"}
KNOWS_MCP = {"tools", "mcp_status"}
DIALECTS_MAY_IMPORT = {
    "dialects",
    "events",
    "errors",
    "models",
    "own_tools",
    "rounds",
    "sse",
    "streaming",
}
POOL_MAY_IMPORT = {"errors", "leases"}
EDGES = {"main", "command_line", "routes", "dependencies"}
"""Only these, and nothing below, know how the app is put together."""


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    name, imported = name_of(path), ours(path)
    top = name.partition(".")[0]
    if name in IMPORTS_NOTHING_OF_OURS:
        assert imported == set()
    if name == "pool":
        assert imported <= POOL_MAY_IMPORT
    if top == "dialects":
        assert imported <= DIALECTS_MAY_IMPORT
        assert not tops(path) & {"fastapi", "starlette", "claude_agent_sdk", "httpx", "sqlalchemy"}
    if top == "stores":
        assert not imported & {"claude_cli", "dialects", "routes", "streaming", "pool"}
    if top == "demo":
        assert imported <= {"demo"}
    if top not in EDGES:
        assert not imported & EDGES


def test_the_module_table_names_every_module_at_the_top() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`(\w+)\.py`", "\n".join(rows)))
    assert named == TOP


def test_only_the_engine_knows_the_sdk() -> None:
    knows = {name_of(path) for path in MODULES if "claude_agent_sdk" in tops(path)}
    assert knows == SPEAKS_WITH_THE_SDK
    assert {name_of(path) for path in MODULES if "mcp" in tops(path)} == KNOWS_MCP


def test_nothing_is_imported_in_a_circle() -> None:
    graph = {
        name_of(path): imports(path) - {name_of(path).partition(".")[0]}  # its own package
        for path in MODULES
    }
    graph["main"] -= {"command_line"}  # only where it is run as a script
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name not in done:
            for imported in sorted(graph.get(name, set())):
                if imported in graph and imported != name:
                    visit(imported, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_no_file_is_over_500_lines() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in PYTHON}
    assert {path: count for path, count in lines.items() if count > 500} == {}


def test_the_server_writes_to_no_terminal_but_by_its_command_line() -> None:
    allowed = {"command_line", "demo.tour", "demo.__main__"}
    for path in MODULES:
        calls = {
            node.func.id
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "print" not in calls or name_of(path) in allowed, path


def test_no_module_hides_one_of_pythons_own() -> None:
    assert not OURS & sys.stdlib_module_names


# Written so that this file does not find itself. A lock file names no index but the default one.
REGISTRIES = re.compile(r"https?://[^\s\"')>]*(?:artifactory|nexus|pypi-proxy|mirror\.|/simple\b)")
MACHINE = re.compile(r"(?<![\w/])/(?:Users/\w+|work/(?:main|shared))")


def test_no_file_names_a_registry_or_a_place_on_a_machine() -> None:
    found = []
    for path in files(TEXTS):
        if path == Path(__file__) or path.stat().st_size > 2_000_000:
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        hits = REGISTRIES.findall(text) + MACHINE.findall(text)
        found += [f"{path.relative_to(ROOT)}: {hit}" for hit in hits]
    assert found == []
