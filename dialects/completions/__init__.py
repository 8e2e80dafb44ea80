"""OpenAI's legacy completions: a prompt and what follows it. Source:
https://platform.openai.com/docs/api-reference/completions."""

from __future__ import annotations

from dialects.completions.dialect import DIALECT, CompletionsDialect

__all__ = ["DIALECT", "CompletionsDialect"]
