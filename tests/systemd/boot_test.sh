#!/bin/bash
# Whoever boots a systemd and is killed leaves nothing behind.
set -euo pipefail
boot=$PWD/$1
folder=$(mktemp -d /tmp/boot_test.XXXXXX)
trap 'kill -KILL "${pid:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# Says "up" and stays. In there the first process is systemd.
mkfifo "$folder/said"
mkdir "$folder/empty"
/usr/bin/python3 "$boot" "$folder/empty" bash -c \
  '[[ $(< /proc/1/comm) == systemd ]] && echo up; exec sleep 1000' \
  >"$folder/said" &
pid=$!
read -r -t 50 said <"$folder/said" || fail "it does not boot"
[[ $said == up ]] || fail "it said: $said"

groups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[[ -d $groups/handoff-test-$pid ]] || fail "there is no control group of it"
left() {
  [[ -d $groups/handoff-test-$pid ]] ||
    grep -q "^overlay .*handoff-test" /proc/mounts
}
kill -KILL $pid
for ((i = 0; i < 300; ++i)); do
  left || break
  sleep 0.1
done
! left || fail "30 s after it was killed something is left of it"

# What it runs tells by its exit code.
code=0
/usr/bin/python3 "$boot" "$folder/empty" bash -c 'exit 7' || code=$?
((code == 7)) || fail "the program's exit code 7 came out as $code"
