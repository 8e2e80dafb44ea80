"""Builds .venv from poetry.lock, with a private Poetry, from nothing but Python and pip's index.

    bootstrap install [OPTIONS]   .venv as the lock says; at once when it already is
    bootstrap upgrade [OPTIONS]   the newest Claude Code SDK, tried by the contract tests
    bootstrap poetry ARGUMENTS    the private Poetry, for any other command

OPTIONS go to `poetry sync`, for example `--only main`, or to the tests. Standard library only;
start it through `scripts/bootstrap`, which finds a Python.
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
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
CACHE = ROOT / ".cache"
TOOL = CACHE / "poetry"
# Poetry asks its index for a JSON API that mirrors lack; with the plugin it reads pip's pages.
TOOL_REQUIREMENTS = ["poetry>=2.2,<3", "poetry-plugin-pypi-mirror>=0.6.2,<0.7"]
SDK = "claude-agent-sdk"
CLI_VERSION = re.compile(r'__cli_version__ = "(.+)"')
RELEASE = re.compile(r"\d+(\.\d+)*")
VERSIONS_FILE = "engine/tested_versions.py"
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


def install(options: list[str]) -> int:
    """Make .venv what the lock says; several callers may ask at the same time."""
    if is_current(options):
        return 0
    with locked():
        if is_current(options):  # another caller built it while we waited
            return 0
        ensure_venv(VENV)
        stamp = VENV / ".installed"
        stamp.unlink(missing_ok=True)
        wanted = fingerprint(options)
        if status := run_poetry(["sync", "--no-root", *options]):
            explain_failure()
            return status
        stamp.write_text(wanted)
    return 0


def upgrade(options: list[str]) -> int:
    """Lock and install the newest SDK, run the contract tests, and say what changed."""
    before = sdk_version(), cli_version()
    with locked():
        ensure_venv(VENV)
        status = run_poetry(["update", "--lock", SDK])
        if status:
            explain_failure()
    if status := status or install([]):
        return status
    for name, old, new in zip(
        (SDK, "Claude Code"), before, (sdk_version(), cli_version()), strict=True
    ):
        print(f"{name}: {new}, as before" if old == new else f"{name}: {old or 'none'} -> {new}")
    sys.stdout.flush()
    return contract_tests(cli_version(), options)


def contract_tests(version: str, options: list[str]) -> int:
    """A version that passes stays in VERSIONS_FILE, as one whose processes may be used again."""
    versions = ROOT / VERSIONS_FILE
    original = versions.read_text()
    tested = set(json.loads(f"[{TESTED_VERSIONS.findall(original)[0]}]")) | {version}
    versions.write_text(TESTED_VERSIONS.sub(json.dumps(sorted(tested))[1:-1], original))
    files = sorted(str(path) for path in ROOT.glob("tests/engine/contract/test_*.py"))
    status = 1  # unless they come to their end
    try:
        status = subprocess.run(
            [VENV / "bin/pytest", *files, *options], cwd=ROOT, check=False
        ).returncode
    finally:
        if status:
            versions.write_text(original)
    if status:
        print(
            f"\nClaude Code {version} does not do all that this server relies on: see above."
            "\nTo go back: git checkout poetry.lock && make install",
            file=sys.stderr,
        )
    elif versions.read_text() == original:
        print(f"The contract tests pass with Claude Code {version}.")
    else:
        print(
            f"The contract tests pass with Claude Code {version}, which {VERSIONS_FILE} names now."
            f"\nRun `make check`, then commit poetry.lock and {VERSIONS_FILE}."
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


def is_current(options: list[str]) -> bool:
    return is_sound(VENV) and read(VENV / ".installed") == fingerprint(options)


def fingerprint(options: list[str]) -> str:
    inputs = [ROOT / "pyproject.toml", ROOT / "poetry.lock"]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in inputs]
    return " ".join([*digests, *options])


def run_poetry(arguments: list[str]) -> int:
    ensure_tool()
    command = [str(TOOL / "bin/python"), "-I", "-m", "poetry", "--no-interaction", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=poetry_environment(), stdin=subprocess.DEVNULL, check=False
    )
    return done.returncode


def poetry_environment() -> dict[str, str]:
    """Poetry's view of the network is pip's: its index, its certificates, its proxy."""
    pip = json.loads(ask(TOOL, "-c", ASK_PIP))
    defaults = {
        # Requests trusts its own bundle only; pip trusts the system's too.
        "REQUESTS_CA_BUNDLE": pip["cert"] or ssl.get_default_verify_paths().cafile,
        "HTTPS_PROXY": pip["proxy"],
        "POETRY_CACHE_DIR": str(CACHE / "poetry-downloads"),  # needs no writable home
        "POETRY_KEYRING_ENABLED": "false",  # a locked keyring would wait for somebody to type
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
    ensure_venv(TOOL, with_pip=True)
    stamp = TOOL / ".installed"
    wanted = " ".join(TOOL_REQUIREMENTS)
    if read(stamp) != wanted:
        print("Fetching Poetry into .cache/poetry", file=sys.stderr)
        ask(TOOL, "-m", "pip", "install", "-qq", *TOOL_REQUIREMENTS)
        stamp.write_text(wanted)


def ensure_venv(venv: Path, *, with_pip: bool = False) -> None:
    """Create the environment, again when it was moved or its Python was replaced."""
    if is_sound(venv):
        return
    print(f"Creating {venv.relative_to(ROOT)} with Python {version()}", file=sys.stderr)
    options = ["--clear", f"--prompt={ROOT.name}"] + ([] if with_pip else ["--without-pip"])
    command = [sys.executable, "-I", "-m", "venv", *options, str(venv)]
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
        [TOOL / "bin/python", "-I", "-m", "pip", "index", "versions", SDK],
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
