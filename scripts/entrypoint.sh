#!/bin/sh
# The container's start: finds the Claude login that was mounted, says what is in its way, and
# becomes the server. `docker run IMAGE ARGUMENTS` is `python main.py ARGUMENTS`.
#
# It looks at whether files exist and may be read, never into them. The server's own first lines
# name the credentials in use.
set -eu

OWN=/home/app/.claude  # every user of the image may write there
ORIGINAL=/root/.claude  # where it was mounted before there was a user

say() { echo "entrypoint: $*" >&2; }

stop() {
    say "$@"
    exit 2
}

check_folders() {
    temporary=${TMPDIR:-/tmp}
    [ -w "$temporary" ] ||
        stop "$temporary cannot be written. With a read-only container add \`--tmpfs $temporary\`."
    case ${DATABASE_URL:-} in
        sqlite*:////*) data=$(dirname "/${DATABASE_URL#*:////}") ;;
        *) return 0 ;;
    esac
    [ -w "$data" ] ||
        stop "$data, where DATABASE_URL keeps the sessions, cannot be written by user $(id -u)." \
            "Mount a volume there, or a folder of this user's."
}

# Sets CLAUDE_CONFIG_DIR where the CLI would not look by itself.
find_login() {
    for folder in "${HOME:-}/.claude" "$OWN" "$ORIGINAL"; do
        is_readable "$folder" || continue
        [ "$folder" = "${HOME:-}/.claude" ] || export CLAUDE_CONFIG_DIR="$folder"
        return
    done
    # `login` must be able to store one, also for a user without a home.
    [ -w "${HOME:-}/.claude" ] || [ ! -w "$OWN" ] || export CLAUDE_CONFIG_DIR="$OWN"
}

# Whether the folder holds a login for this user; what he may not open is kept in `closed`.
is_readable() {
    file=$1/.credentials.json
    if [ -e "$file" ]; then
        [ ! -r "$file" ] || return 0
        closed=$file
    elif [ -d "$1" ] && [ ! -x "$1" ]; then
        closed=$1
    fi
    return 1
}

tell_login() {
    login=${CLAUDE_CONFIG_DIR:-${HOME:-}/.claude}
    if is_readable "$login"; then
        say "found a Claude login in $login."
        [ -w "$login" ] && [ -w "$file" ] ||
            say "It cannot be written, so it cannot be renewed: mount it without \`:ro\`."
    elif [ -n "$closed" ]; then
        owner=$(stat -c %u:%g "$closed")
        say "$closed belongs to user $owner and is closed to user $(id -u):$(id -g)." \
            "Add \`--user $owner\` to docker run; for compose set CONTAINER_USER=$owner."
    fi
}

closed=
check_folders
[ -n "${CLAUDE_CONFIG_DIR:-}" ] || find_login
tell_login

# A command of the image's own (`docker run IMAGE sh`) is run as it is; the server's commands, ports
# and options are the server's.
case ${1:-} in
    serve | demo | check | login | key | connect | service | agent) ;;
    *[!0-9]*) [ "${1#-}" != "$1" ] || [ -z "$(command -v "$1")" ] || exec "$@" ;;
esac

cd "$(dirname "$0")/.."
exec python main.py "$@"
