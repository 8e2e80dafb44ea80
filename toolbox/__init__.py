"""What built-in tools work with; entered by `engine/caller_tools.py` only."""
