"""Stored conversations; entered by `session_manager.py` only."""
