#!/bin/sh
# Models, a chat, a stream and a function call with curl. Needs nothing else.
#
#   sh examples/curl_example.sh
set -eu
. "$(dirname "$0")/connection.sh"

call GET /models
call GET /auth/status

call POST /chat/completions '{"model": "sonnet",
    "messages": [{"role": "user", "content": "Hello"}]}'

call POST /chat/completions '{"model": "sonnet", "stream": true,
    "messages": [{"role": "user", "content": "Count to ten."}]}'

call POST /chat/completions '{"model": "sonnet",
    "messages": [{"role": "user", "content": "The weather in Rome? Ask get_weather."}],
    "tools": [{"type": "function", "function": {"name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]}'
