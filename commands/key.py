"""`python main.py key`: makes an API key."""

from __future__ import annotations

import hashlib
import sys

from auth import new_key

KEY_HELP = """\
Put it into .env:            API_KEY={key}
or only its hash into the JSON file that API_KEYS_FILE names: {{"name": {{"sha256": "{sha256}"}}}}
"""


def print_key() -> int:
    """The key alone on stdout, for scripts; what to do with it on stderr."""
    key = new_key()
    sys.stdout.write(f"{key}\n")
    sys.stdout.flush()
    sha256 = hashlib.sha256(key.encode()).hexdigest()
    sys.stderr.write(KEY_HELP.format(key=key, sha256=sha256))
    return 0
