"""`python -m claude_openai_server`."""

import sys

from claude_openai_server import main

sys.exit(main())
