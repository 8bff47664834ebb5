#!/bin/bash
# The units of server/deploy/systemd under a real systemd. All files are given by
# their paths; boot.py is the first.
set -euo pipefail
boot=$PWD/$1
shift
folder=$(mktemp -d /tmp/systemd_test.XXXXXX)
trap 'rm -rf "$folder"' EXIT
cp -L "$@" "$folder"
# Debian's, which has python3-grpcio. A name of a case runs only that.
/usr/bin/python3 "$boot" "$folder" /usr/bin/python3 /handoff-test/cases.py \
  ${CASES:-}
