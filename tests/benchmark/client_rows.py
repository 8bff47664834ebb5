"""What the rows have in common that clients of running servers measure."""

import argparse
import json
import os
import signal
import subprocess
import sys

# How servers and clients are run is the load clients' affair.
sys.path.append(
    os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", "tools", "load")
)

WORKERS = 2


class Failure(Exception):
    """Something that makes the figures worth nothing."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def subfolder(options, name):
    """A new one in the row's folder."""
    path = os.path.join(options.folder, name)
    os.mkdir(path, 0o700)
    return path


def check_kept(figures):
    """Raises Failure unless every client has kept its connection and lost nothing."""
    kept = figures["kept"]
    wrong = [
        f"{kept[what]} {what}"
        for what in ("lost", "refused", "reset", "reconnects", "unfinished")
        if kept[what]
    ]
    if kept["survived"] != kept["clients"]:
        wrong.append(f"{kept['survived']} of {kept['clients']} connections survived")
    if not kept["ok"]:
        wrong.append("nothing was answered")
    if wrong:
        raise Failure(", ".join([*wrong, *kept["causes"]]))


def main(row, measure):
    """`measure` takes the options and returns what the row consists of."""
    parser = argparse.ArgumentParser(description=f"Measures the row {row}.")
    parser.add_argument("--row", choices=[row], default=row)
    parser.add_argument("--folder", required=True, help="an empty one, of a short path")
    parser.add_argument("--server", required=True, help="handoff_server")
    parser.add_argument("--steady_clients", required=True)
    parser.add_argument("--quick", action="store_true", help="small, for a test")
    options = parser.parse_args()
    # What was started is ended by `with`, which SIGTERM alone would pass over.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        figures = measure(options)
    except (Failure, OSError, RuntimeError, subprocess.SubprocessError) as failure:
        sys.exit(f"{row}: {failure}")
    ratios = [m / b for m, b in zip(figures["measured"], figures["bound"])]
    print(json.dumps({"row": row, "ratios": ratios, **figures}))
