#!/bin/bash
# The soak in small. Arguments: the soak client, the server, the handoff command.
set -euo pipefail

# The socket's path has to be short, which one in the test's own folder is not.
folder=$(mktemp -d /tmp/handoff.XXXXXX)
trap 'rm -rf "$folder"' EXIT

if ! "$1" --server="$2" --tool="$3" --folder="$folder" --length=20s --seed=1 \
  >"$folder/result"; then
  cat "$folder/result" "$folder/server.log"
  exit 1
fi
python3 - "$folder/result" <<'END'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as result:
    figures = json.loads(result.read().splitlines()[-1])
print(figures)
assert figures["handoffs"] >= 5 and figures["rehearsals"] >= 1
assert figures["kills"] >= 2 and figures["requests_ok"] >= 1000
assert figures["violations"] == 0
END
