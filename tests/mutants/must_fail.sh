#!/bin/bash
# Passes where a test fails, and says why as expected:
# must_fail.sh TEST REGEX [ARGUMENT...].
set -uo pipefail

test=$1
says=$2
shift 2

# The failures are what is wanted: they are not to be counted as this test's own.
unset XML_OUTPUT_FILE

if output=$("$test" "$@" 2>&1); then
  echo "the fault went unnoticed"
  tail -n 20 <<<"$output"
  exit 1
fi
if ! grep -Eq -- "$says" <<<"$output"; then
  echo "it failed, but did not say \"$says\":"
  tail -n 60 <<<"$output"
  exit 1
fi
grep -E -m 1 -- "$says" <<<"$output"
