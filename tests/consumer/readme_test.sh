#!/bin/bash
# README.md shows the files of this folder, or the part of one, as they are.
set -euo pipefail
readme=$1
failed=0

# The lines between "```NAME" and "```" of the first block that begins with
# LINE.
block() {  # NAME LINE
  awk -v fence="\`\`\`$1" -v first="$2" '
    $0 == fence { inside = 1; at_first = 1; next }
    $0 == "```" { if (shown) exit; inside = 0; next }
    inside && at_first { at_first = 0; shown = ($0 == first) }
    inside && shown { print }' "$readme"
}

expect() {  # FILE NAME LINE: the block is FILE from LINE on
  if ! diff <(block "$2" "$3") <(awk -v first="$3" '
      $0 == first { on = 1 } on { print }' "$1"); then
    echo "$readme differs from $1: copy the file into its block"
    failed=1
  fi
}

expect "$2" cpp "$(head -n 1 "$2")"
expect "$3" python "local_repository("
exit "$failed"
