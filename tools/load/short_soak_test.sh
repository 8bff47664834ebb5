#!/bin/bash
# The soak in small. Arguments: the soak client, the server, the handoff command.
set -euo pipefail

# The socket's path has to be short, which one in the test's own folder is not.
folder=$(mktemp -d /tmp/handoff.XXXXXX)
trap 'rm -rf "$folder"' EXIT

if ! "$1" --server="$2" --tool="$3" --folder="$folder" --length=20s --seed=1; then
  cat "$folder/server.log"
  exit 1
fi
