"""CLI versions on which the contract tests passed, written by `make upgrade`. Only these serve more
than one conversation a process, and those that a server itself checked (commands/self_check.py)."""

CONTRACT_TESTED_VERSIONS = frozenset({"2.1.329"})
