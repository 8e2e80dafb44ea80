"""The container's HEALTHCHECK: exit status 0 where the server answers on PORT.

A port that is an argument (`docker run IMAGE 9000`) is not seen here: use `-e PORT=9000`.
"""

import http.client
import os
import sys

# Not urllib: it would ask the proxy that the environment may name.
server = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT") or "8000"), timeout=4)
try:
    server.request("GET", "/health")
    status = server.getresponse().status
except OSError as error:
    sys.exit(f"no answer: {error}")
sys.exit(None if status == http.client.OK else f"/health answers {status}")
