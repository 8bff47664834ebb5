#!/bin/bash
# Has Spin search every state of handoff.pml, and sees that each mutant of it is
# found out. Prints a line for each search.
#   proto/model_test.sh [proto/handoff.pml]
set -uo pipefail

model=$(realpath "${1:-$(dirname "${BASH_SOURCE[0]}")/handoff.pml}")
work=$(mktemp -d "${TEST_TMPDIR:-/tmp}/model.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

failed=0
cases=""
liveness=
# Where there are few states, the compiler would take longer than the search.
optimize=-O0

# Runs spin, gcc and pan; pan's report is in the file `report`.
search() {  # PAN_FLAG FLAG...
  started=$SECONDS
  rm -f pan* report log
  # -o3: each statement stays one of its own, and is reported if never reached.
  spin -a -o3 "${@:2}" "$model" >log 2>&1 &&
    gcc "$optimize" -w "$1" -DMEMLIM=2000 -o pan pan.c >>log 2>&1 &&
    ./pan -m100000 ${liveness:+-l} >report 2>&1
  errors=$(sed -n 's/.*errors: \([0-9]*\)$/\1/p' report 2>/dev/null)
}

# A line and a test case for the last search; WHY, where it is not as it has to be.
verdict() {  # NAME [WHY]
  local states seconds=$((SECONDS - started))
  states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' report 2>/dev/null)
  echo "$1: ${states:-no} states, ${errors:-no} errors, $seconds s${2:+: FAILED: $2}"
  cases+="<testcase name=\"$1\" time=\"$seconds\">${2:+<failure message=\"$2\"/>}</testcase>"
  [[ -z ${2:-} ]] || { failed=1; tail -n 60 log report; }
}

# Every state is searched and none is wrong; each printf of REACHED, by the comma,
# is met in some of them.
holds() {  # NAME REACHED PAN_FLAG FLAG...
  local name=$1 reached why=""
  IFS=, read -ra reached <<<"$2"
  search "${@:3}"
  if [[ $errors != 0 ]]; then
    why="an error, or no search"
  elif grep -qE 'max search depth too small|out of memory|not completed|truncated' report; then
    why="not every state was searched"
  fi
  for marker in "${reached[@]}"; do
    grep -qF "reached: $marker" "$model" || why="nothing says: $marker"
    ! grep -qF "reached: $marker" report || why="never reached: $marker"
  done
  verdict "$name" "$why"
}

# The search finds an error.
found() {  # MUTANT FLAG...
  search -DSAFETY "-DMUTANT_$1" "${@:2}"
  local why=""
  ((${errors:-0} >= 1)) || why="the mutant lives"
  verdict "mutant $1" "$why"
}

outcomes="commit,abort,adoption,roll back,an abort before the commit"
outcomes+=",no adoption after an abort"
generations="retires before an offer,the third has it from the second"
generations+=",the third has it from the first,the end of three"

holds "two processes" "$outcomes" -DSAFETY -DBATCHES
optimize=-O2
holds "three processes" "$outcomes,$generations" -DSAFETY -DN=3
holds "three processes, of which one rehearses" "commit,abort,roll back,a rehearsal" \
  -DSAFETY -DN=3 -DREHEARSAL
optimize=-O0
# Each wait ends, and each run: no cycle.
liveness=1
holds "no run without end" "$outcomes" -DNP -DBATCHES
liveness=
holds "undisturbed" "commit" -DSAFETY -DCALM -DBATCHES
holds "undisturbed but for a death" "commit,adoption,roll back" \
  -DSAFETY -DCALM -DCRASHES=1 -DBATCHES
holds "three processes, undisturbed but for a death" \
  "commit,adoption,roll back,$generations" -DSAFETY -DCALM -DCRASHES=1 -DN=3

found SKIP_SWAP
found SWAP_AFTER_THAW
found ADOPT_ABORTED
found NO_RETIRE -DN=3
found EVERY_END_A_CRASH -DN=3

if [[ -n ${XML_OUTPUT_FILE:-} ]]; then
  echo "<testsuites><testsuite name=\"model\">$cases</testsuite></testsuites>" >"$XML_OUTPUT_FILE"
fi
exit "$failed"
