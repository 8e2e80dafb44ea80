"""Claude Code's processes; entered by `claude_cli.py` only."""
