"""`python main.py check`: tries a running server as a first-time user would, and says what to
fix."""

from __future__ import annotations

import argparse
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

from commands.probes import PROBES, Failed, Probe, Skipped, Visit
from core.addresses import is_loopback

SECONDS = 60.0
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


def main(argv: Sequence[str], url: str, environ: Mapping[str, str], api_key: str | None) -> int:
    """0 where all went well, 1 where something failed, 2 where nothing could be tried.

    `url` and `api_key` are those of the settings: --url and TEST_API_KEY go before them.
    """
    arguments = parser(url).parse_args(argv)
    key = environ.get("TEST_API_KEY") or api_key
    try:
        results = asyncio.run(check(arguments, key, _withhold if arguments.json else _write))
    except KeyboardInterrupt:
        return INTERRUPTED
    if arguments.json:
        _write(as_json(arguments.url, results))
    failed = [result.name for result in results if result.outcome == "failed"]
    if PROBES[0].name in failed:
        return NOTHING_ANSWERS
    return SOMETHING_FAILED if failed else 0


def parser(url: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python main.py check",
        description="Try a running server as a newcomer would. It asks the model six short "
        "questions. The key is TEST_API_KEY, else API_KEY.",
        epilog="Exit status: 0 all went well, 1 something failed, 2 nothing could be tried.",
    )
    made.add_argument("--url", type=_url, default=url, help="address of the server (%(default)s)")
    made.add_argument("--model", help="model to ask (default: the cheapest)")
    made.add_argument(
        "--timeout", type=_seconds, default=SECONDS, help="most seconds for each line (%(default)g)"
    )
    made.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    return made


def _url(text: str) -> str:
    """Without /v1, which a copied client `base_url` ends with."""
    try:
        parsed = httpx.URL(text)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise argparse.ArgumentTypeError("must be an address such as http://127.0.0.1:8000")
    return text.rstrip("/").removesuffix("/v1")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("must be seconds up to 3600")
    return seconds


async def check(
    arguments: argparse.Namespace, key: str | None, tell: Callable[[str], object]
) -> list[Result]:
    """The results of all probes, each told in a line as it comes."""
    results = []
    tell(f"\n{arguments.url}\n\n")
    async with client(arguments.url, key, arguments.timeout) as http:
        async for result in tried(Visit(http, arguments.model), arguments.timeout):
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
