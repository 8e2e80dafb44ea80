# Where the server is, and whether it requires a key: what every shell example here begins with.
#
#   OPENAI_BASE_URL   default http://localhost:8000/v1
#   OPENAI_API_KEY    only where the server requires one
base_url=${OPENAI_BASE_URL:-http://localhost:8000/v1}
key=${OPENAI_API_KEY:-unused}

status=$(curl --silent --output /dev/null --write-out '%{http_code}' "$base_url/models" \
    --header "Authorization: Bearer $key") || true
case $status in
    200) ;;
    000) echo "No server at $base_url. Start one: python main.py --demo" >&2; exit 1 ;;
    401) echo "The server at $base_url requires an API key: set OPENAI_API_KEY." >&2; exit 1 ;;
    *) echo "The server at $base_url answers $status." >&2; exit 1 ;;
esac

call() { # METHOD PATH [BODY]
    curl --silent --show-error --fail --no-buffer --request "$1" "$base_url$2" \
        --header "Authorization: Bearer $key" --header "Content-Type: application/json" \
        ${3:+--data "$3"}
    echo
}
