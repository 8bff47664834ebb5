"""The rows of the benchmark: what each is, and how its figures are got and checked.

A row is a ratio: what the library took over a lower bound, both measured in one run.
README.md says what the program of a row is called with and what it prints.
"""

import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
from typing import NamedTuple


class Row(NamedTuple):
    key: str
    what: str  # measured over its bound
    reach: float  # what the ratio is to come down to
    program: str  # which of the programs that bench.py is given measures it
    hands: tuple = ()  # which others the program is told, as --NAME=PATH
    folder: bool = False  # whether it is given an empty one, as --folder
    part_of: str = ""  # the row whose program prints this one too, in `also`


ROWS = [
    *(
        Row(
            f"move_256_{n}",
            f"moving {n:,} sessions of 256 bytes of state over the bare loop",
            1.5,
            "handoff_benchmark",
        )
        for n in (1000, 4000, 16000)
    ),
    Row(
        "move_4k",
        "moving sessions of 4 KiB of state over the bare loop",
        1.5,
        "handoff_benchmark",
    ),
    Row(
        "move_64k",
        "moving sessions of 64 KiB of state over the bare loop",
        1.5,
        "handoff_benchmark",
    ),
    Row(
        "blackout_changed",
        "blackout (p99), 160 of 16,000 sessions changed, over 160 of 160 changed",
        2,
        "handoff_benchmark",
    ),
    Row(
        "blackout_all",
        "blackout (p99), all of 16,000 sessions changed, over the bare loop with their state",
        2,
        "handoff_benchmark",
    ),
    Row(
        "blackout_all_max",
        "blackout (longest), all of 16,000 sessions changed, over the same",
        2,
        "handoff_benchmark",
        part_of="blackout_all",
    ),
    Row(
        "latency",
        "latency (p99.9) of requests during handoffs over that without any",
        2,
        "latency",
        hands=("server", "steady_clients"),
        folder=True,
    ),
    Row(
        "idle_instructions",
        "instructions per request, handoff ready but idle, over a server without it",
        1.01,
        "idle_instructions",
        hands=("server", "server_without_handoff"),
    ),
    Row(
        "staging_memory",
        "memory that staging needs over the size of what is staged",
        1.5,
        "handoff_benchmark",
    ),
    Row(
        "longest_gap",
        "longest gap in the service of 16,000 clients over that of a restarted nginx",
        0.1,
        "longest_gap",
        hands=("server", "steady_clients"),
        folder=True,
    ),
]

# A ratio of fewer repetitions says little; --quick only asks whether it works.
MIN_REPETITIONS = 5


class RowError(Exception):
    """Why a row has no figures."""


def last_line(path):
    with open(path, encoding="utf-8", errors="replace") as text:
        lines = [line.strip() for line in text if line.strip()]
    return lines[-1] if lines else ""


def wait(process, seconds):
    """Its exit code, or None where it has not ended in time. Kills its process group."""
    ended = select.poll()
    pidfd = os.pidfd_open(process.pid)
    try:
        ended.register(pidfd, select.POLLIN)
        in_time = bool(ended.poll(seconds * 1000))
    finally:
        # Before it is reaped: afterwards its number may be another group's.
        os.killpg(process.pid, signal.SIGKILL)
        os.close(pidfd)
        code = process.wait()
    return code if in_time else None


def run_program(command, seconds):
    """Runs `command` in a process group of its own; returns its last line on stdout.

    Its output goes to files: a pipe would be held open by processes that it leaves
    behind.
    """
    with tempfile.TemporaryDirectory(prefix="bench.") as logs:
        out, err = os.path.join(logs, "stdout"), os.path.join(logs, "stderr")
        with open(out, "wb") as stdout, open(err, "wb") as stderr:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                )
            except OSError as error:
                raise RowError(f"cannot execute {command[0]}: {error.strerror}") from error
            code = wait(process, seconds)
        if code != 0:
            with open(err, encoding="utf-8", errors="replace") as text:
                sys.stderr.write(text.read())
            how = f"exit code {code}" if code is not None else f"no end within {seconds} s"
            said = last_line(err)
            raise RowError(f"{how}: {said}" if said else how)
        return last_line(out)


def check_figures(figures, key, quick):
    """Raises RowError where `figures` are not those of one row."""
    if not isinstance(figures, dict):
        raise RowError("its result is no JSON object")
    if figures.get("row") != key:
        raise RowError(f"its result is of row {figures.get('row')!r}")
    if not isinstance(figures.get("unit"), str):
        raise RowError("its result has no unit")
    series = [figures.get(name) for name in ("measured", "bound", "ratios")]
    for values in series:
        if not isinstance(values, list) or not all(
            isinstance(v, (int, float)) and math.isfinite(v) and v > 0 for v in values
        ):
            raise RowError("measured, bound and ratios must be lists of positive numbers")
    if len({len(values) for values in series}) != 1:
        raise RowError("measured, bound and ratios differ in length")
    least = 1 if quick else MIN_REPETITIONS
    if len(series[0]) < least:
        raise RowError(f"{len(series[0])} repetitions: at least {least} are needed")
    for measured, bound, ratio in zip(*series):
        if not math.isclose(measured / bound, ratio, rel_tol=0.01):
            raise RowError(f"{measured} over {bound} is not {ratio}")


def measure(row, programs, quick, seconds):
    """The result of `row`'s program, of which check_figures() is true."""
    missing = [name for name in (row.program, *row.hands) if name not in programs]
    if missing:
        raise RowError(f"no program {' and no '.join(missing)}")
    command = [programs[row.program], f"--row={row.key}"]
    command += [f"--{name}={programs[name]}" for name in row.hands]
    if quick:
        command.append("--quick")
    if row.folder:
        # Not in TMPDIR, which may be long: the path of a Unix socket is at most 107 bytes.
        with tempfile.TemporaryDirectory(
            prefix="handoff.", dir="/tmp", ignore_cleanup_errors=True
        ) as folder:
            line = run_program([*command, f"--folder={folder}"], seconds)
    else:
        line = run_program(command, seconds)
    try:
        result = json.loads(line)
    except ValueError as error:
        raise RowError(f"its last line is no JSON: {line[:200]!r}") from error
    check_figures(result, row.key, quick)
    return result


def choose(keys):
    """The rows of `keys`, where a key also stands for those that begin with it and "_"."""
    chosen = []
    for key in keys:
        rows = [row for row in ROWS if row.key == key or row.key.startswith(key + "_")]
        if not rows:
            raise RowError(f"no row {key}; there are {', '.join(row.key for row in ROWS)}")
        chosen += [row for row in rows if row not in chosen]
    return chosen


def measure_all(chosen, programs, quick, seconds, progress):
    """Measures `chosen`: the result or {"error": ...} by key, in the order of ROWS."""
    results = {}
    own = {row.part_of or row.key for row in chosen}
    for row in ROWS:
        if row.key not in own:
            continue
        progress(row.key)
        try:
            results[row.key] = measure(row, programs, quick, seconds)
        except RowError as error:
            results[row.key] = {"error": str(error)}
    rows = {}
    for row in ROWS:
        if row not in chosen:
            continue
        result = results[row.part_of or row.key]
        if row.part_of and "error" not in result:
            result = part_result(result, row.key, quick)
        rows[row.key] = {"what": row.what, "reach": row.reach, **result}
    return rows


def part_result(result, key, quick):
    also = result.get("also")
    for figures in also if isinstance(also, list) else []:
        if isinstance(figures, dict) and figures.get("row") == key:
            try:
                check_figures(figures, key, quick)
            except RowError as error:
                return {"error": str(error)}
            return figures
    return {"error": f"not in `also` of row {result['row']}"}
