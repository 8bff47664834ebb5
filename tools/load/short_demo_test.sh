#!/bin/bash
# The demonstration in small: two handoffs, one of them by SIGUSR2.
# Arguments: the load client, the server, the handoff command.
set -euo pipefail

# The socket's path has to be short, which one in the test's own folder is not.
folder=$(mktemp -d /tmp/handoff.XXXXXX)
trap 'rm -rf "$folder"' EXIT

"$1" --server="$2" --tool="$3" --folder="$folder" \
  --handoffs=2 --connections=150 --short_connections=50
