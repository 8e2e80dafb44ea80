"""`python -m benchmarks`: measures, tells the ratios and keeps them (docs/performance.md)."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import sys
import time
from pathlib import Path

from benchmarks import guards, meters
from benchmarks.client import BenchmarkError
from benchmarks.contenders import ROOT
from benchmarks.kills import killed
from benchmarks.plan import FULL, QUICK
from benchmarks.plot import svg
from benchmarks.promises import verdicts
from benchmarks.report import as_text, write_document
from benchmarks.results import Results, read_results
from benchmarks.run import PHASES, compare, machine, soak
from benchmarks.siege import Crowd, besieged
from demo.__main__ import fast_loop

LATEST = ROOT / "benchmarks" / "results" / "latest.json"
DOCUMENT = ROOT / "docs" / "performance.md"
BUSY = 0.5
PLOT = ROOT / "docs" / "performance.svg"


def main(argv: list[str]) -> int:
    """The exit status is 1 where a promise was not kept, 2 where nothing could be measured."""
    options = _parser().parse_args(argv)
    if options.siege or options.kills:
        return hardships(options)
    if (busy := os.getloadavg()[0]) > BUSY:
        say(f"this machine is busy (load {busy:.1f}): the figures will be noisy")
    try:
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            results = runner.run(_measured(options))
    except BenchmarkError as error:
        sys.stderr.write("\n\n".join([str(error), *getattr(error, "__notes__", [])]) + "\n")
        return 2
    sys.stdout.write(f"\n{as_text(results)}\n")
    sys.stdout.write(f"{guards.as_text()}\n{meters.as_text()}\n")
    if options.output != LATEST or not (options.quick or options.only):
        keep(results, options.output)
    return 1 if any(verdict.kept is False for verdict in verdicts(results)) else 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument("--quick", action="store_true", help="little of everything; keeps nothing")
    made.add_argument("--soak", type=int, metavar="N", help="N mixed requests instead, kept too")
    made.add_argument(
        "--only", choices=PHASES, action="append", help="this phase; repeatable, and keeps nothing"
    )
    made.add_argument(
        "--server",
        metavar="[NAME=]COMMAND",
        action="append",
        default=[],
        help="what starts a server, {port} where its port belongs: in this one's place, or, with a "
        "name, one more; 'before' is what processor time is compared with",
    )
    made.add_argument("--output", type=Path, default=LATEST, help="keep it here as JSON")
    made.add_argument(
        "--siege",
        type=float,
        nargs="?",
        const=300.0,
        metavar="SECONDS",
        help="one honest key among all attacks at once; keeps nothing",
    )
    made.add_argument(
        "--paced", action="store_true", help="a siege before an upstream at a real model's pace"
    )
    made.add_argument("--kills", type=int, metavar="N", help="N times kill -9; keeps nothing")
    return made


def hardships(options: argparse.Namespace) -> int:
    """Runs of their own. The exit status is 1 where something was lost."""
    is_good, found = True, ""
    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        if options.siege:
            siege = runner.run(besieged(options.siege, say, Crowd(paced=options.paced)))
            is_good, found = siege.lost == 0, siege.as_text()
        if options.kills:
            kills = runner.run(killed(options.kills, say))
            is_good, found = is_good and kills.none_wrong, f"{found}\n{kills.as_text()}"
    sys.stdout.write(f"\n{found}\n")
    return 0 if is_good else 1


async def _measured(options: argparse.Namespace) -> Results:
    """A comparison keeps the last soak, a soak the last comparison."""
    earlier = read_results(options.output)
    commands = dict(map(command, options.server))
    if options.soak:
        results = earlier or Results(plan="soak", machine=machine())
        results.soak = await soak(options.soak, say, commands)
        return results
    plan = QUICK if options.quick else FULL
    results = await compare(plan, say, commands, options.only or PHASES)
    if earlier is not None and not options.quick:
        results.soak = earlier.soak
    return results


def command(text: str) -> tuple[str, list[str]]:
    """A name and a command line out of `NAME=COMMAND`; `ours` where no name is given."""
    name, equals, rest = text.partition("=")
    if not equals or not name.isidentifier():
        return "ours", shlex.split(text)
    return name, shlex.split(rest)


def keep(results: Results, path: Path) -> None:
    """The JSON file; where it is the usual one, the document and its plot too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results.as_json(), indent=1) + "\n")
    if path == LATEST:
        PLOT.write_text(svg(results))
        write_document(DOCUMENT, results)


def say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
