"""Builds .venv from poetry.lock, from nothing but Python and pip's index.

    bootstrap install [GROUP…] [OPTIONS]   .venv as the lock says; at once when it already is
    bootstrap upgrade [OPTIONS]            the newest Claude Code SDK, tried by the contract tests
    bootstrap poetry ARGUMENTS             the private Poetry, for any other command

GROUPs are those of pyproject.toml; without one .venv holds what the server and the demo need. One
that is installed stays. OPTIONS go to `pip install`, for example `--compile`, or to the tests.
Poetry is loaded only to change the lock. Standard library only; start it through
`scripts/bootstrap`, which finds a Python.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
CACHE = ROOT / ".cache"
TOOL = CACHE / "poetry"
# Poetry asks its index for a JSON API that mirrors lack; with the plugin it reads pip's pages.
TOOL_REQUIREMENTS = ["poetry>=2.2,<3", "poetry-plugin-pypi-mirror>=0.6.2,<0.7"]
SDK = "claude-agent-sdk"
TESTS = ("dev", "docs")
SIZES = {
    "main": "what the server and the demo need: 500 MB on disk, of which Claude Code is 360",
    "dev": "the tests' tools: 300 MB more on disk",
    "docs": "the documentation's: 120 MB more",
}
"""Of each group; printed before the download, which takes most of the time."""

TESTED = "engine/tested_versions.py"
CLI_VERSION = re.compile(r'__cli_version__ = "(.+)"')
RELEASE = re.compile(r"\d+(\.\d+)*")
TESTED_VERSIONS = re.compile(
    r"(?<=^CONTRACT_TESTED_VERSIONS = frozenset\(\{).*(?=\}\))", re.MULTILINE
)

# What pip would use by its options, files, variables and defaults, all at once.
ASK_PIP = """
import json
from pip._internal.commands import create_command
options, _ = create_command("install").parse_args([])
print(json.dumps({"index": options.index_url, "cert": options.cert, "proxy": options.proxy}))
"""

PIP_OPTIONS = (
    "--quiet", "--no-cache-dir", "--no-deps", "--no-compile", "--require-hashes",
    "--disable-pip-version-check",
)  # fmt: skip

# A caller's own environment must not leak into ours.
INHERITED = (
    "CONDA_DEFAULT_ENV", "CONDA_PREFIX", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET",
    "PIP_USER", "POETRY_ACTIVE", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV",
)  # fmt: skip


def main(arguments: list[str]) -> int:
    match arguments:
        case ["install", *options]:
            return install(options)
        case ["upgrade", *options]:
            return upgrade(options)
        case ["poetry", *rest]:
            with locked():
                ensure_venv(VENV)  # Poetry would make its own, from another Python
                return run_poetry(rest)
        case _:
            print(__doc__, file=sys.stderr)
            return 2


def install(arguments: Sequence[str]) -> int:
    """Make .venv what the lock says; several callers may ask at the same time."""
    asked = {word for word in arguments if not word.startswith("-")}
    if unknown := asked - set(SIZES):
        print(f"There is no group {', '.join(sorted(unknown))}.", file=sys.stderr)
        return 2
    options = [word for word in arguments if word.startswith("-")]
    if is_current(asked):
        return 0
    with locked():
        if is_current(asked):  # another caller built it while we waited
            return 0
        ensure_venv(VENV)
        stamp = VENV / ".installed"
        before = installed_groups()
        groups = {"main", *asked, *before}
        announce(sorted(groups - before, key=list(SIZES).index))
        wanted = fingerprint(groups - {"main"})
        stamp.unlink(missing_ok=True)
        packages = locked_packages(groups)
        if status := run_pip([requirement(each, groups) for each in packages], options):
            explain_failure()
            return status
        remove_others({str(package["name"]) for package in packages})
        stamp.write_text(wanted)
    return 0


def locked_packages(groups: set[str]) -> list[dict[str, Any]]:
    """Those of the lock that one of the groups needs, on whatever platform."""
    packages = tomllib.loads((ROOT / "poetry.lock").read_text())["package"]
    return [package for package in packages if groups & set(package.get("groups", ["main"]))]


def requirement(package: dict[str, Any], groups: set[str]) -> str:
    """A line for pip: one release, where it is needed, and the hashes that its files may have."""
    markers = package.get("markers", "")
    if isinstance(markers, dict):  # by group; one without a marker needs it everywhere
        mine = groups & set(package["groups"])
        found = [f"({markers[name]})" for name in sorted(mine) if name in markers]
        markers = " or ".join(found) if len(found) == len(mine) else ""
    hashes = "".join(f" --hash={file['hash']}" for file in package["files"])
    where = f" ; {markers}" if markers else ""
    return f"{package['name']}=={package['version']}{where}{hashes}\n"


def run_pip(requirements: Sequence[str], options: Sequence[str]) -> int:
    """Installs just these; downloads are not kept, they would be as large again."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", dir=CACHE) as file:
        file.writelines(requirements)
        file.flush()
        python = [str(VENV / "bin/python"), "-I"]
        command = [*python, "-m", "pip", "install", *PIP_OPTIONS, *options, "-r", file.name]
        done = subprocess.run(
            command, env=clean_environment(), stdin=subprocess.DEVNULL, check=False
        )
    return done.returncode


def remove_others(names: set[str]) -> None:
    """What an earlier lock named, or was installed by hand."""
    installed = json.loads(ask(VENV, "-m", "pip", "list", "--format=json", "--no-index"))
    keep = {normalized(name) for name in names | {"pip", "setuptools", "wheel"}}
    others = [each["name"] for each in installed if normalized(each["name"]) not in keep]
    if others:
        ask(VENV, "-m", "pip", "uninstall", "--quiet", "--yes", *others)


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def announce(groups: Sequence[str]) -> None:
    for name in groups:
        print(f"Loading {SIZES[name]}", file=sys.stderr)


def upgrade(options: list[str]) -> int:
    """Lock and install the newest SDK, run the contract tests, and say what changed."""
    before = sdk_version(), cli_version()
    with locked():
        ensure_venv(VENV)
        status = run_poetry(["update", "--lock", SDK])
        if status:
            explain_failure()
    if status := status or install(TESTS):
        return status
    for name, old, new in zip(
        (SDK, "Claude Code"), before, (sdk_version(), cli_version()), strict=True
    ):
        print(f"{name}: {new}, as before" if old == new else f"{name}: {old or 'none'} -> {new}")
    sys.stdout.flush()
    return contract_tests(cli_version(), options)


def contract_tests(version: str, options: list[str]) -> int:
    """A version that passes stays in TESTED, as one whose processes may be used again."""
    file = ROOT / TESTED
    original = file.read_text()
    tested = set(json.loads(f"[{TESTED_VERSIONS.findall(original)[0]}]")) | {version}
    file.write_text(TESTED_VERSIONS.sub(json.dumps(sorted(tested))[1:-1], original))
    files = sorted(str(path) for path in ROOT.glob("tests/engine/contract/test_*.py"))
    status = 1  # unless they come to their end
    try:
        status = subprocess.run(
            [VENV / "bin/pytest", *files, *options], cwd=ROOT, check=False
        ).returncode
    finally:
        if status:
            file.write_text(original)
    if status:
        print(
            f"\nClaude Code {version} does not do all that this server relies on: see above."
            "\nTo go back: git checkout poetry.lock && make install",
            file=sys.stderr,
        )
    elif file.read_text() == original:
        print(f"The contract tests pass with Claude Code {version}.")
    else:
        print(
            f"The contract tests pass with Claude Code {version}, which {TESTED} names now."
            f"\nRun `make check`, then commit poetry.lock and {TESTED}."
        )
    return status


def sdk_version() -> str:
    packages = tomllib.loads((ROOT / "poetry.lock").read_text())["package"]
    return str(next(package["version"] for package in packages if package["name"] == SDK))


def sdk_range() -> str:
    """What pyproject.toml asks for, as `>=0.2.186,<0.3`."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return str(next(text.removeprefix(SDK) for text in dependencies if text.startswith(SDK)))


def in_range(release: str, bounds: str) -> bool:
    """Of a range that has a lower and an upper bound; False for what is no release at all."""
    lower, upper = (numbers(bound.strip("<>= ")) for bound in bounds.split(","))
    return bool(RELEASE.fullmatch(release)) and lower <= numbers(release) < upper


def numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def cli_version() -> str:
    """Of the CLI that the installed SDK carries; empty where none is installed."""
    found = VENV.glob("lib/python*/site-packages/claude_agent_sdk/_cli_version.py")
    texts = [CLI_VERSION.findall(path.read_text()) for path in found]
    return "".join(texts[0]) if texts else ""


def is_current(asked: set[str]) -> bool:
    """Whether the groups, and maybe others, are installed as the lock says."""
    groups = installed_groups()
    stamp = read(VENV / ".installed")
    return asked <= groups and stamp == fingerprint(groups) and is_sound(VENV)


def installed_groups() -> set[str]:
    """Those that the last whole run put into .venv, beside the main one."""
    return set((read(VENV / ".installed") or "").split()[2:])


def fingerprint(groups: set[str]) -> str:
    inputs = [ROOT / "pyproject.toml", ROOT / "poetry.lock"]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in inputs]
    return " ".join([*digests, *sorted(groups)])


def run_poetry(arguments: list[str]) -> int:
    """Its downloads are gone afterwards: they would be as large again as what came of them."""
    ensure_tool()
    command = [str(TOOL / "bin/python"), "-I", "-m", "poetry", "--no-interaction", *arguments]
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="downloads-") as downloads:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=poetry_environment(downloads),
            stdin=subprocess.DEVNULL,
            check=False,
        )
    return done.returncode


def poetry_environment(downloads: str) -> dict[str, str]:
    """Poetry's view of the network is pip's: its index, its certificates, its proxy."""
    pip = json.loads(ask(TOOL, "-c", ASK_PIP))
    defaults = {
        # Requests trusts its own bundle only; pip trusts the system's too.
        "REQUESTS_CA_BUNDLE": pip["cert"] or ssl.get_default_verify_paths().cafile,
        "HTTPS_PROXY": pip["proxy"],
        "POETRY_CACHE_DIR": downloads,  # needs no writable home
        "POETRY_KEYRING_ENABLED": "false",  # a locked keyring would wait for a password
        "POETRY_REQUESTS_MAX_RETRIES": "3",
    }
    return (
        {name: value for name, value in defaults.items() if value}
        | clean_environment()
        | {
            "POETRY_PYPI_MIRROR_URL": pip["index"],
            "POETRY_VIRTUALENVS_CREATE": "true",
            "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        }
    )


def ensure_tool() -> None:
    ensure_venv(TOOL)
    stamp = TOOL / ".installed"
    wanted = " ".join(TOOL_REQUIREMENTS)
    if read(stamp) != wanted:
        print("Fetching Poetry into .cache/poetry", file=sys.stderr)
        ask(TOOL, "-m", "pip", "install", "-qq", "--no-cache-dir", *TOOL_REQUIREMENTS)
        stamp.write_text(wanted)


def ensure_venv(venv: Path) -> None:
    """Create the environment, again when it was moved or its Python was replaced."""
    if is_sound(venv):
        return
    print(f"Creating {venv.relative_to(ROOT)} with Python {version()}", file=sys.stderr)
    command = [sys.executable, "-I", "-m", "venv", "--clear", f"--prompt={ROOT.name}", str(venv)]
    subprocess.run(command, env=clean_environment(), check=True)
    (venv / ".place").write_text(f"{venv} {version()}")


def is_sound(venv: Path) -> bool:
    try:
        found = ask(venv, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    except (OSError, subprocess.CalledProcessError):
        return False
    return read(venv / ".place") == f"{venv} {found}"


def explain_failure() -> None:
    """Name the remedy for what goes wrong in time: a locked release that left the index."""
    locked_version = sdk_version()
    reported = subprocess.run(
        [VENV / "bin/python", "-I", "-m", "pip", "index", "versions", SDK],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    ).stdout  # empty without a network: then Poetry has said so already
    releases = reported.replace(",", " ").split()
    if releases and not any(in_range(release, sdk_range()) for release in releases):
        print(
            f"\n{SDK}{sdk_range()}, which pyproject.toml asks for, is no longer in the package"
            " index (old releases are deleted).\nName a range of newer releases there, then run"
            " `make upgrade`: the contract tests say what has to change.",
            file=sys.stderr,
        )
    elif releases and locked_version not in releases:
        print(
            f"\n{SDK} {locked_version}, which poetry.lock names, is no longer in the package index"
            " (old releases are deleted).\nRun `make upgrade`: it locks the newest release and"
            " runs the contract tests against it.\nWith a Poetry of your own: `poetry update"
            f" {SDK}`, then `poetry install`.",
            file=sys.stderr,
        )
    else:
        print("(Here `make lock` is what Poetry calls `poetry lock`.)", file=sys.stderr)


def ask(venv: Path, *arguments: str) -> str:
    done = subprocess.run(
        [venv / "bin/python", "-I", *arguments],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in INHERITED}


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """One builder at a time; the system drops the lock of one that died."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "bootstrap.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as failed:  # its own message is above
        sys.exit(f"bootstrap: {Path(failed.cmd[0]).name} ended with status {failed.returncode}")
