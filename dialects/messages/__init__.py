"""Anthropic's Messages API: what a client wrote reaches the model as it is, and the API's own
events are its answer. Source: https://docs.anthropic.com/en/api/messages."""

from __future__ import annotations

from dialects.messages.dialect import DIALECT, MessagesDialect

__all__ = ["DIALECT", "MessagesDialect"]
