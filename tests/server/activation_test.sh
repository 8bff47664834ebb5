#!/bin/bash
# The server takes its listener from systemd's own socket activation, and hands
# it over when it is told to upgrade.
set -euo pipefail
server=$PWD/$1
handoff=$PWD/$2
folder=$(mktemp -d /tmp/activation.XXXXXX)
trap 'kill $(jobs -p) "${second:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT

fail() {
  echo "FAILED: $*" >&2
  cat "$folder/log" >&2
  exit 1
}

# Listens at once; executes the server when the first client has come. It passes
# on no other variable, and a sanitizer needs its own.
systemd-socket-activate --listen="$folder/http" --fdname=http \
  ${ASAN_OPTIONS:+"--setenv=ASAN_OPTIONS=$ASAN_OPTIONS"} \
  ${UBSAN_OPTIONS:+"--setenv=UBSAN_OPTIONS=$UBSAN_OPTIONS"} \
  ${TSAN_OPTIONS:+"--setenv=TSAN_OPTIONS=$TSAN_OPTIONS"} \
  "$server" --http="unix:$folder/http" --handoff="$folder/h" --watch=100ms \
  >"$folder/log" 2>&1 &
first=$!
for ((i = 0; i < 300; ++i)); do
  [[ -S $folder/http ]] && break
  kill -0 $first 2>/dev/null || fail "systemd-socket-activate has ended"
  sleep 0.1
done

# The path is there a moment before somebody listens.
whoami() {
  curl --silent --show-error --max-time 30 --retry 10 --retry-connrefused \
    --unix-socket "$folder/http" \
    http://localhost/whoami || fail "$1"
}
[[ $(whoami "the first client") == *"\"pid\":$first,"*'"generation":1'* ]] ||
  fail "the one that was activated does not answer: $(whoami again)"

"$handoff" upgrade --handoff="$folder/h" --timeout=60s >"$folder/upgrade" 2>&1 ||
  fail "upgrade: $(cat "$folder/upgrade")"
grep -q '^handoff .* committed .*, generation 2$' "$folder/upgrade" ||
  fail "upgrade said: $(cat "$folder/upgrade")"
second=$(sed -n 's/.* -> pid \([0-9]*\), generation 2$/\1/p' "$folder/upgrade")
[[ $(whoami "a client after it") == *"\"pid\":$second,"*'"generation":2'* ]] ||
  fail "the successor does not answer: $(whoami again)"
wait $first || fail "the first one exited with $?"
