"""Another proxy beside this server: LiteLLM's, in an environment of its own under `.cache`.

It is never installed into the project's environment. `PEERS=1` asks for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

from benchmarks.client import BenchmarkError

PEER: Final = "litellm"
REQUIREMENT: Final = "litellm[proxy]>=1.80,<2"
HEALTH: Final = "/health/liveliness"  # its /health would ask the model
START_SECONDS: Final = 120.0

_CONFIG: Final = """\
model_list:
  - model_name: "*"
    litellm_params:
      model: "anthropic/*"
      api_base: os.environ/ANTHROPIC_BASE_URL
      api_key: os.environ/ANTHROPIC_API_KEY
"""
_VARIABLES: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches a list when it starts
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
}


def wanted() -> bool:
    """Whether the environment asks for peers."""
    return os.environ.get("PEERS", "") not in ("", "0")


def installed(root: Path) -> Path:
    """LiteLLM's command; installs it where it is missing. Raises BenchmarkError where it cannot."""
    home = root / ".cache" / "peers"
    command = home / "bin" / PEER
    if command.exists():
        return command
    sys.stdout.write(f"installing {REQUIREMENT} into {home} …\n")
    venv.create(home, with_pip=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", REQUIREMENT]
    if subprocess.run(pip, check=False).returncode or not command.exists():
        raise BenchmarkError(f"{REQUIREMENT} could not be installed into {home}")
    return command


def command_line(root: Path, scratch: Path) -> list[str]:
    """What starts the peer, `{port}` where its port belongs."""
    config = scratch / "litellm.yaml"
    config.write_text(_CONFIG)
    options = ["--host", "127.0.0.1", "--port", "{port}", "--telemetry", "False"]
    return [str(installed(root)), "--config", str(config), *options]


def environment(base: dict[str, str]) -> dict[str, str]:
    """The environment of servers under test, with what the peer needs of its own."""
    return {**base, **_VARIABLES}
