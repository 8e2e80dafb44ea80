#!/bin/sh
# A conversation that the server remembers, with curl. Needs nothing else.
#
#   sh examples/session_curl_example.sh
set -eu
. "$(dirname "$0")/connection.sh"

session="example-$$-$(date +%s)"

ask() { # TEXT
    call POST /chat/completions "{\"model\": \"sonnet\", \"session_id\": \"$session\",
        \"messages\": [{\"role\": \"user\", \"content\": \"$1\"}]}"
}

ask "My name is Ada. Remember it."
ask "What is my name?"

call GET "/sessions/$session"          # what is stored
call GET "/sessions/$session/export"   # one message a line
call GET "/sessions?limit=5"           # the newest sessions, without their texts
call GET /sessions/stats               # messages, tokens and cost by day
call POST "/sessions/$session/clear"
call DELETE "/sessions/$session"
