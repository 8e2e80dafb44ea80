"""What this server is called; `pyproject.toml` says the same."""

from __future__ import annotations

NAME = "claude-code-openai-server"
VERSION = "0.1.0"

SCRIPT = "claude-openai-server"
"""The command of an installed wheel."""

IS_INSTALLED = __file__.replace("\\", "/").endswith("/_server/core/version.py")
"""Whether this runs out of a wheel, which keeps all of it in a folder of that name."""

PROGRAM = SCRIPT if IS_INSTALLED else "python main.py"
"""How its commands are called here, in every sentence that names one."""
