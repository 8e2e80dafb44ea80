"""CLI versions on which the contract tests passed: only these serve more than one conversation a
process. `make upgrade` writes this line."""

CONTRACT_TESTED_VERSIONS = frozenset({"2.1.329"})
