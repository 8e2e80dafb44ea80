"""What this server is called; `pyproject.toml` says the same."""

NAME = "claude-code-openai-server"
VERSION = "0.1.0"
