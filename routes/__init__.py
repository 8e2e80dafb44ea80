"""Thin routers, one file for each group of endpoints."""
