"""Thin routers."""
