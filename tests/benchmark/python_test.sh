#!/bin/bash
# Executes a script with Debian's Python, which has python3-matplotlib. The arguments are
# the script and its own.
set -euo pipefail
exec /usr/bin/python3 "$@"
