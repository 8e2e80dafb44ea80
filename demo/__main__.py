"""`python -m demo --port 8099`: the fake upstream as a process of its own."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable

from demo.server import FakeAnthropic


async def serve(port: int, record: int) -> None:
    """Serve until SIGINT or SIGTERM; the URL is the first line on stdout."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with FakeAnthropic(port=port, record=record) as upstream:
        sys.stdout.write(f"{upstream.url}\n")
        sys.stdout.flush()
        await stop.wait()


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    """The maker of uvloop's event loops where it is installed, else asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--record", type=int, default=0, help="how many requests to keep")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        runner.run(serve(options.port, options.record))


if __name__ == "__main__":
    main()
