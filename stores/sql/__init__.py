"""Stores over SQLite and PostgreSQL."""
