#!/bin/bash
# kubectl's words without a cluster, as far as docs/on-kubernetes.md has them.
set -euo pipefail

# The real one, if there is one.
real() {
    local path=${PATH#*:}
    PATH=$path command kubectl "$@"
}

case "$1" in
create)
    real "$@" --dry-run=client --output=yaml > secret.yaml
    cat secret.yaml
    "$VALIDATE" --strict secret.yaml
    ;;
apply)
    "$VALIDATE" --strict "$3"
    ;;
*)
    echo "docs/on-kubernetes.md says something new: kubectl $*" >&2
    exit 1
    ;;
esac
