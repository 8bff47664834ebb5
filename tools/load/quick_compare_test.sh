#!/bin/bash
# The comparison in small: that every contender can be restarted and measured, and
# that handoff_server loses nothing. No figure of the others, and no time, is judged.
# Arguments: the clients, the server.
set -euo pipefail

# A short path, for Unix sockets. matplotlib wants a home.
folder=$(mktemp -d /tmp/handoff.XXXXXX)
trap 'rm -rf "$folder"' EXIT
export MPLCONFIGDIR="$folder/matplotlib"

/usr/bin/python3 -B tools/load/compare.py --quick --clients="$PWD/$1" \
  --server="$PWD/$2" --out="$folder/out"
for file in compare.md compare.json compare.svg handoff.csv; do
  [[ -s $folder/out/$file ]] || { echo "no $file"; exit 1; }
done
