#!/bin/sh
# Fails when the protos as they are now break clients of those of another revision: the one given, else main, and on
# main itself the commit before. A clone without that revision has nothing to compare with, and says so.
set -eu
cd "$(dirname "$0")/.."
against=${1:-}
if [ -z "$against" ]; then
    against=$(git rev-parse --verify --quiet origin/main || git rev-parse --verify --quiet main || true)
    if [ "$against" = "$(git rev-parse HEAD)" ] && git diff --quiet HEAD -- protos; then
        against=$(git rev-parse --verify --quiet HEAD^ || true)
    fi
fi
if [ -z "$against" ] || ! git cat-file -e "$against:protos/buf.yaml" 2> /dev/null; then
    echo "no earlier protos to compare with"
    exit 0
fi
old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT
git archive "$against" protos | tar -x -C "$old"
.venv/bin/buf breaking protos --against "$old/protos"
echo "the protos break no client of $(git rev-parse --short "$against")"
