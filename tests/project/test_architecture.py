"""House rules: imports point one way, files stay small, only edges print (ARCHITECTURE.md)."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
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
PRESCRIBED = {
    "main",
    "models",
    "auth",
    "claude_cli",
    "session_manager",
    "tools",
    "rate_limiter",
}

DOORS: dict[str, str | None] = {
    "claude_cli": "engine",
    "session_manager": "sessions",
    "tools": "toolbox",
    "auth": None,
    "rate_limiter": None,
}
"""The only way into the package behind each; any of them may ask auth.py for a Principal."""

WINGS = {wing for wing in DOORS.values() if wing is not None}
LAYERS: tuple[set[str], ...] = (
    {"main"},
    {"commands"},
    {"web"},
    {"turns"},
    set(DOORS),
    WINGS,
    {"dialects", "stores", "config"},
    {"models"},
    {"core"},
)
"""An import points right, never left, and to no neighbour."""

LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}
FRAMEWORKS = {"fastapi", "starlette", "uvicorn", "claude_agent_sdk", "httpx", "sqlalchemy", "redis"}
PURE = {"core", "dialects"}
NO_NETWORK_OR_DISK = FRAMEWORKS | {"socket", "ssl", "asyncio", "anyio", "subprocess", "pathlib"}
SPEAKS_WITH_THE_SDK = {
    "engine.agent_worker",
    "engine.failures",
    "engine.launch",
    "engine.translate",
    "engine.transport",
    "engine.worker",
}
KNOWS_MCP = {"engine.caller_tools", "toolbox.mcp_status"}
MODULES = [
    path for path in PYTHON if path.relative_to(ROOT).parts[0].removesuffix(".py") in LAYER_OF
]
DEMO = [path for path in PYTHON if path.relative_to(ROOT).parts[0] == "demo"]


def name_of(path: Path) -> str:
    """`web.routes.chat`, or `auth` for a module at the top."""
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
    return found


@cache
def imported_modules(path: Path) -> set[str]:
    """As `imports`, with what is imported out of a package, which may be a module itself."""
    found = set(imports(path))
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def turned_arrows(name: str, imported: Iterable[str]) -> set[str]:
    """What a module of this name may not import of the project's own."""
    top = name.partition(".")[0]
    return {
        module
        for module in imported
        if (other := module.partition(".")[0]) in LAYER_OF
        and other != top
        and not _is_allowed(top, other)
    }


def _is_allowed(top: str, other: str) -> bool:
    if other in WINGS:
        return top == "main" or DOORS.get(top) == other
    if top in DOORS and other == "auth":
        return True
    return LAYER_OF[top] < LAYER_OF[other]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    name = name_of(path)
    assert turned_arrows(name, imports(path)) == set()
    if name.partition(".")[0] in PURE:
        assert tops(path) & NO_NETWORK_OR_DISK == set()


@pytest.mark.parametrize(
    ("name", "imported"),
    [
        ("core.events", "dialects.base"),
        ("dialects.chat.request", "turns.images"),
        ("dialects.base", "config.settings"),
        ("engine.pool", "claude_cli"),
        ("web.routes.pool", "engine.pool"),
        ("session_manager", "toolbox.workspaces"),
        ("turns.pipeline", "web.errors"),
        ("commands.serve", "main"),
    ],
)
def test_an_arrow_that_is_turned_is_seen(name: str, imported: str) -> None:
    assert turned_arrows(name, {imported, "core.errors"} - {name}) == {imported}


@pytest.mark.parametrize("path", DEMO, ids=name_of)
def test_the_demo_imports_nothing_of_the_server(path: Path) -> None:
    assert tops(path) & set(LAYER_OF) == set()


def test_the_root_holds_the_prescribed_modules_and_nothing_else() -> None:
    assert TOP == PRESCRIBED


def test_the_tables_name_every_module_and_package_at_the_top() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    assert set(re.findall(r"^\| `(\w+)\.py` \|", page, re.MULTILINE)) == TOP
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"tests"}
    assert set(re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE)) == packages


def test_only_the_engine_knows_the_sdk() -> None:
    knows = {name_of(path) for path in MODULES if "claude_agent_sdk" in tops(path)}
    assert knows == SPEAKS_WITH_THE_SDK
    assert {name_of(path) for path in MODULES if "mcp" in tops(path)} == KNOWS_MCP


def test_nothing_is_imported_in_a_circle() -> None:
    known = {name_of(path) for path in MODULES}
    graph = {name_of(path): imported_modules(path) & known for path in MODULES}
    for name in graph:  # what stands in a package may name its siblings by it
        graph[name] -= {name.rpartition(".")[0], name.partition(".")[0]}
    graph["main"] -= {"commands.command_line"}  # only where it is run as a script
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name not in done:
            for imported in sorted(graph[name] - {name}):
                visit(imported, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_no_file_is_over_500_lines() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in PYTHON}
    assert {path: count for path, count in lines.items() if count > 500} == {}


MAX_FUNCTION_LINES = 60
MAX_ROUTE_LINES = 15


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Of its body, with its docstring."""
    return (function.end_lineno or 0) - function.body[0].lineno + 1


def is_route(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(one).startswith("router.") for one in function.decorator_list)


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_functions_and_routes_stay_short(path: Path) -> None:
    long = {one.name: lines(one) for one in functions(path) if lines(one) > MAX_FUNCTION_LINES}
    thick = {
        f.name: lines(f) for f in functions(path) if is_route(f) and lines(f) > MAX_ROUTE_LINES
    }
    assert (long, thick) == ({}, {})


def test_the_server_writes_to_no_terminal_but_by_its_command_line() -> None:
    allowed = {"demo.tour", "demo.__main__"}
    for path in (*MODULES, *DEMO):
        calls = {
            node.func.id
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "print" not in calls or name_of(path) in allowed, path


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_raised_within_except_star(path: Path) -> None:
    """Python 3.11.2, which Debian 12 has, wraps it in an exception group."""
    handlers = [h for n in ast.walk(parsed(path)) if isinstance(n, ast.TryStar) for h in n.handlers]
    raised = [each for h in handlers for each in ast.walk(h) if isinstance(each, ast.Raise)]
    assert raised == []


def test_no_module_hides_one_of_pythons_own() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert (TOP | packages) & sys.stdlib_module_names == set()


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
