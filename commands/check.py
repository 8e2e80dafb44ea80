"""`python main.py check`: tries a running server as a first-time user would, and says what to
fix."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Literal

import httpx
from pydantic import ValidationError

from commands.banner import shown_host
from commands.probes import PROBES, Failed, Probe, Skipped, Visit
from config.settings import SettingsError, host_environ, load_settings
from core.addresses import is_loopback

SOMETHING_FAILED = 1
NOTHING_ANSWERS = 2
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Result:
    """`ms` is None for what was not tried; `hint` is what to do about a failure."""

    name: str
    outcome: Literal["ok", "failed", "skipped"]
    ms: int | None
    detail: str
    hint: str | None = None

    def line(self) -> str:
        ms = "" if self.ms is None else f"{self.ms} ms"
        hint = f"{'':34}{self.hint}\n" if self.hint else ""
        return f"  {self.outcome:8} {self.name:12} {ms:>8}   {self.detail}".rstrip() + f"\n{hint}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """`url` None is the server of these settings; `seconds` are the maximum for each probe."""

    url: str | None = None
    model: str | None = None
    seconds: float = 60.0
    as_json: bool = False


def check_server(wanted: Wanted) -> int:
    """Tries the server of these settings, or the one that `url` names."""
    settings = load_settings()
    here = f"http://{shown_host(settings.host)}:{settings.port}"
    return main(wanted, here, host_environ(), settings.api_key)


def main(wanted: Wanted, here: str, environ: Mapping[str, str], api_key: str | None) -> int:
    """0 where all went well, 1 where something failed, 2 where nothing could be tried.

    `here` and `api_key` are those of the settings: `wanted` and TEST_API_KEY go before them.
    Raises SettingsError for an address that is none.
    """
    url = here if wanted.url is None else server_url(wanted.url)
    key = environ.get("TEST_API_KEY") or api_key
    try:
        results = asyncio.run(check(url, wanted, key, _withhold if wanted.as_json else _write))
    except KeyboardInterrupt:
        return INTERRUPTED
    if wanted.as_json:
        _write(as_json(url, results))
    failed = [result.name for result in results if result.outcome == "failed"]
    if PROBES[0].name in failed:
        return NOTHING_ANSWERS
    return SOMETHING_FAILED if failed else 0


def server_url(text: str) -> str:
    """Without /v1: a client's base_url stands for its server. Raises SettingsError."""
    try:
        parsed = httpx.URL(text)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise SettingsError("--url must be an address such as http://127.0.0.1:8000.")
    return text.rstrip("/").removesuffix("/v1")


async def check(
    url: str, wanted: Wanted, key: str | None, tell: Callable[[str], object]
) -> list[Result]:
    """The results of all probes, each printed in a line as it comes."""
    results = []
    tell(f"\n{url}\n\n")
    async with client(url, key, wanted.seconds) as http:
        async for result in tried(Visit(http, wanted.model), wanted.seconds):
            results.append(result)
            tell(result.line())
    counts = Counter(result.outcome for result in results)
    tell(f"\n  {counts['ok']} ok, {counts['failed']} failed, {counts['skipped']} skipped\n\n")
    return results


def as_json(url: str, results: Sequence[Result]) -> str:
    is_ok = all(result.outcome != "failed" for result in results)
    reported = {"url": url, "ok": is_ok, "checks": [asdict(result) for result in results]}
    return json.dumps(reported) + "\n"


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _withhold(_: str) -> None:
    """What --json does with lines."""


def client(url: str, key: str | None, seconds: float) -> httpx.AsyncClient:
    headers = {b"Authorization": b"Bearer " + key.encode()} if key else {}
    near = is_loopback(httpx.URL(url).host)  # a proxy of the environment can't reach it
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=seconds, trust_env=not near)


async def tried(visit: Visit, seconds: float) -> AsyncIterator[Result]:
    """The result of each probe, as it comes; one that needs a failed one is skipped."""
    failed: list[str] = []
    for probe in PROBES:
        needed = next((name for name in probe.needs if name in failed), None)
        if needed:
            result = Result(probe.name, "skipped", None, f"needs {needed}")
        else:
            result = await _tried(probe, visit, seconds)
        if result.outcome == "failed":
            failed.append(probe.name)
        yield result


async def _tried(probe: Probe, visit: Visit, seconds: float) -> Result:
    started = perf_counter()

    def result(outcome: Literal["ok", "failed", "skipped"], *words: str) -> Result:
        return Result(probe.name, outcome, round((perf_counter() - started) * 1000), *words)

    try:
        async with asyncio.timeout(seconds):
            return result("ok", await probe.run(visit))
    except Skipped as skipped:
        return Result(probe.name, "skipped", None, str(skipped))
    except Failed as failed:
        return result("failed", failed.seen, failed.hint)
    except (TimeoutError, httpx.TimeoutException):
        return result(
            "failed", f"no answer within {seconds:g} s", "See the log, or take --timeout."
        )
    except httpx.RequestError as error:
        return result("failed", f"the connection broke: {error!r}", "See whether it still runs.")
    except (ValidationError, ValueError, KeyError, TypeError, IndexError):
        return result("failed", "the answer is not of OpenAI's shape", "Is it this server?")
