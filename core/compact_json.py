"""JSON as it goes over the wire: without spaces."""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii as quoted

__all__ = ["compact", "quoted"]

compact = json.JSONEncoder(separators=(",", ":")).encode
"""A value as JSON text. `json.dumps` with separators makes a new encoder each time."""
