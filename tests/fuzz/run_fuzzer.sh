#!/bin/bash
# run_fuzzer.sh FUZZER SEED...: lets the fuzzer run for $FUZZ_SECONDS, from the
# seeds on. What it finds goes to $FUZZ_FINDINGS.
set -euo pipefail

fuzzer=$1
shift
corpus=$TEST_TMPDIR/corpus
mkdir -p "$corpus"
cp -L "$@" "$corpus"

"$fuzzer" -max_total_time="${FUZZ_SECONDS:?tools/fuzz sets it}" \
  -max_len=4096 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
  -artifact_prefix="${FUZZ_FINDINGS:?tools/fuzz sets it}/$(basename "$fuzzer")-" \
  "$corpus" 2>&1
