"""Dialects: wire models -> `Turn`, `Event`s -> bytes. Pure: no HTTP server, store or engine."""
