#!/bin/bash
# Docker's words by buildah, as far as docs/in-containers.md has them. What Docker's daemon knows of a container is two files in
# $STORE/containers. Containers have the network of the machine, so that a port that is published is there already.
set -euo pipefail

buildah() { command buildah --root "$STORE/storage" --runroot "$STORE/run" --storage-driver vfs "$@"; }
known=$STORE/containers
mkdir -p "$known"
# The process $1 and all that came of it.
family() {
    echo "$1"
    local child
    for child in $(pgrep -P "$1"); do family "$child"; done
}

case "$1 ${2-}" in
"load --input")
    buildah pull --quiet "docker-archive:$3"
    ;;
"build --tag")
    buildah build --quiet --pull=never "${@:2}"
    ;;
"run --detach")
    shift 2
    while [ $# -gt 1 ]; do
        [ "$1" != --name ] || name=$2
        shift 2
    done
    buildah from --pull-never --name "$name" "$1" > "$known/$name"
    mapfile -t words < <(buildah inspect --type image --format '{{range .OCIv1.Config.Cmd}}{{println .}}{{end}}' "$1" | grep .)
    buildah run "$name" -- "${words[@]}" > "$known/$name.log" 2>&1 < /dev/null &
    echo $! > "$known/$name.pid"
    ;;
"exec "*)
    buildah run "$2" -- "${@:3}"
    ;;
"stop "*)
    pid=$(< "$known/$2.pid")
    for process in $(family "$pid"); do
        # The first of tidelock's own is the first process of the container.
        if [ "$(cat "/proc/$process/comm" 2>/dev/null)" = tidelock ]; then
            kill -TERM "$process"
            break
        fi
    done
    while [ -e "/proc/$pid" ]; do sleep 0.1; done
    ;;
"logs "*)
    cat "$known/$2.log"
    ;;
"rm "*)
    buildah rm "$2"
    rm "$known/$2" "$known/$2.log" "$known/$2.pid"
    ;;
"compose up")
    # There is no Compose here: whether the file is one is all that is looked at.
    "$COMPOSE_SCHEMA" --builtin-schema vendor.compose-spec compose.yaml
    ;;
*)
    echo "docs/in-containers.md says something new: docker $*" >&2
    exit 1
    ;;
esac
