#!/bin/bash
# Builds the server, the handoff command and one of the clients of this folder,
# and runs that client with a folder of its own: run.sh TARGET [FLAG...].
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

target=$1
shift

folder=
client=
status=1

# The client ends its servers itself. This is for the case that it could not: it
# ends what runs a binary of our own folder, and nothing else does.
finish() {
  local exe
  trap - EXIT
  trap '' INT TERM HUP
  if [[ -n $client ]] && kill -TERM "$client" 2>/dev/null; then
    wait "$client" || true
  fi
  [[ -n $folder ]] || return 0
  for exe in /proc/[0-9]*/exe; do
    if [[ $(readlink "$exe" 2>/dev/null) == "$folder"/* ]]; then
      exe=${exe#/proc/}
      kill -KILL "${exe%/exe}" 2>/dev/null || true
    fi
  done
  if [[ $target == soak && $status -ne 0 ]]; then
    echo "the servers' log is $folder/server.log" >&2
  else
    rm -rf "$folder"
  fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

quiet=()
[[ -t 2 ]] || quiet=(--noshow_progress --curses=no --color=no)

# Standard output is for the result alone.
tools/setup >&2
bazel build "${quiet[@]}" //server:handoff_server //tools:handoff \
  "//tools/load:$target" </dev/null >&2
bin=$(bazel info bazel-bin 2>/dev/null </dev/null)

# Not in TMPDIR, which may be long: the path of a Unix socket is at most 107
# bytes. Mode 0700, as the library demands of the socket's folder.
folder=$(mktemp -d /tmp/handoff.XXXXXX)

# In the background, as bash handles a signal only between two commands.
"$bin/tools/load/$target" --server="$bin/server/handoff_server" \
  --tool="$bin/tools/handoff" --folder="$folder" "$@" </dev/null &
client=$!
status=0
wait "$client" || status=$?
client=
exit "$status"
