"""Runs the benchmarks of the parts, and pairs each with its lower bounds.

The name of a benchmark is "PART/handoff" for what the library does, and
"PART/bound: WHAT" for a lower bound of the same part. A counter "per THING" is the
time of one thing, in seconds; without one the time is that of an operation.
"""

import json
import statistics
import subprocess
import sys

OURS = "handoff"
BOUND = "bound: "


class PartError(Exception):
    """Why there are no figures of the parts."""


def command(program, quick):
    # Interleaved, so that what else the machine does falls on a part and its bound
    # alike. Not --benchmark_report_aggregates_only: it leaves out benchmarks that fail.
    return [
        program,
        "--benchmark_format=json",
        "--benchmark_enable_random_interleaving=true",
        f"--benchmark_repetitions={1 if quick else 5}",
        f"--benchmark_min_time={0.001 if quick else 0.1}",
    ]


_NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def time_of(run):
    """What one is of, and its time in nanoseconds: CPU time, of one thread."""
    for name, value in run.items():
        if name.startswith("per "):
            return name.removeprefix("per "), value * 1e9
    return "operation", run["cpu_time"] * _NANOSECONDS[run["time_unit"]]


def summary(runs):
    times = [time_of(run)[1] for run in runs]
    return {
        "ns": statistics.median(times),
        "min_ns": min(times),
        "max_ns": max(times),
        "repetitions": len(times),
    }


def pair(report):
    """The parts in the order in which they are registered; `report` is the JSON."""
    parts = {}
    for run in sorted(report["benchmarks"], key=lambda run: run["family_index"]):
        if run.get("run_type") == "aggregate":
            continue
        name, _, what = run["run_name"].rpartition("/")
        part = parts.setdefault(name, {"errors": [], "runs": {}})
        if run.get("error_occurred"):
            part["errors"].append(f"{what}: {run['error_message']}")
        else:
            part["runs"].setdefault(what, []).append(run)

    paired = []
    for name, part in parts.items():
        result = {"part": name}
        paired.append(result)
        if part["errors"]:
            result["error"] = "; ".join(sorted(set(part["errors"])))
            continue
        ours = part["runs"].pop(OURS, None)
        if not ours or not part["runs"]:
            result["error"] = "no bound" if ours else f"no {OURS}"
            continue
        result["per"] = time_of(ours[0])[0]
        result.update(summary(ours))
        result["bounds"] = []
        for what, runs in part["runs"].items():
            bound = summary(runs)
            bound["bound"] = what.removeprefix(BOUND)
            bound["ratio"] = result["ns"] / bound["ns"] if bound["ns"] else None
            result["bounds"].append(bound)
    return paired


def measure(program, quick, seconds):
    try:
        run = subprocess.run(
            command(program, quick),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=seconds,
            check=True,
        )
        parts = pair(json.loads(run.stdout))
    except OSError as error:
        raise PartError(f"cannot execute {program}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise PartError(f"no end within {seconds} s") from error
    except subprocess.CalledProcessError as error:
        raise PartError(f"exit code {error.returncode}") from error
    except (ValueError, KeyError) as error:
        raise PartError(f"its output is not that of Google Benchmark: {error}") from error
    if not parts:
        raise PartError("it has no benchmark")
    for part in parts:
        if "error" in part:
            print(f"{part['part']}: {part['error']}", file=sys.stderr)
    return parts
