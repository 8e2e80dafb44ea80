#!/bin/sh
# A conversation that the server remembers, with curl. Needs nothing else.
#
#   sh examples/session_curl_example.sh [BASE_URL]
set -eu

base_url=${1:-http://127.0.0.1:8000/v1}
key=${API_KEY:-unused}
session="example-$$-$(date +%s)"

call() { # METHOD PATH [BODY]
    curl --silent --show-error --fail --request "$1" "$base_url$2" \
        --header "Authorization: Bearer $key" --header "Content-Type: application/json" \
        ${3:+--data "$3"}
    echo
}

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
