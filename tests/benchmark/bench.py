#!/usr/bin/python3
"""Runs the benchmark and writes bench.json, bench.md and pictures of it.

tools/bench builds what is measured and calls this. The last line on standard output is
one JSON object with a key per row. Exits with 1 where a row or a part has no figures,
never because of a figure.
"""

import argparse
import datetime
import json
import os
import platform
import signal
import sys
import tempfile

import parts
import pictures
import report
import rows

PARTS = "parts"
PART_PROGRAM = "part_benchmark"


def machine():
    cpu = platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        for line in info:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                cpu = value.strip()
                break
    return {"kernel": platform.release(), "cpu": cpu, "cores": len(os.sched_getaffinity(0))}


def progress(what):
    print(f"bench: {what}", file=sys.stderr, flush=True)


def named_path(text):
    name, separator, path = text.partition("=")
    if not name or not separator or not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH")
    return name, os.path.abspath(path)


def arguments(argv):
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__.split("\n")[0])
    parser.add_argument("--out", metavar="FOLDER", help="where the files go; else a new one")
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    parser.add_argument(
        "--only",
        metavar="ROW[,ROW]",
        help=f"some rows, {PARTS} among them; move_256 is all that begin with it",
    )
    parser.add_argument("--draw", metavar="FILE", help="only the pictures, from a bench.json")
    parser.add_argument(
        "--needs", action="store_true", help="only name the programs that the rows need"
    )
    parser.add_argument(
        "--row_seconds", type=int, metavar="N", help="how long a row may take (1800, quick 60)"
    )
    parser.add_argument("--commit", default="", help="what was built, for bench.json")
    parser.add_argument(
        "--program",
        metavar="NAME=PATH",
        type=named_path,
        action="append",
        default=[],
        help="where what is executed is",
    )
    return parser.parse_args(argv)


def draw(bench, folder):
    for path in pictures.draw_all(bench, folder):
        print(path)


def chosen_by(options):
    """The rows to measure, and whether the parts are."""
    if not options.only:
        return rows.ROWS, True
    keys = options.only.split(",")
    return rows.choose([key for key in keys if key != PARTS]), PARTS in keys


def needs(chosen, with_parts):
    names = {PART_PROGRAM} if with_parts else set()
    for row in chosen:
        names.update((row.program, *row.hands))
    return sorted(names)


def measure(options, chosen, with_parts):
    programs = dict(options.program)
    seconds = options.row_seconds or (60 if options.quick else 1800)
    bench = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "commit": options.commit,
        "quick": options.quick,
        "rows": {},
        "parts": [],
    }
    if with_parts:
        progress(PARTS)
        try:
            if PART_PROGRAM not in programs:
                raise parts.PartError(f"no program {PART_PROGRAM}")
            bench["parts"] = parts.measure(programs[PART_PROGRAM], options.quick, seconds)
        except parts.PartError as error:
            bench["parts_error"] = str(error)
    bench["rows"] = rows.measure_all(chosen, programs, options.quick, seconds, progress)
    return bench


def failed(bench):
    return "parts_error" in bench or any(
        "error" in result for result in [*bench["parts"], *bench["rows"].values()]
    )


def main(argv):
    # What was started is ended by `finally`, which SIGTERM alone would pass over.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = arguments(argv)
    if options.draw:
        with open(options.draw, encoding="utf-8") as text:
            bench = json.load(text)
        draw(bench, options.out or os.path.dirname(os.path.abspath(options.draw)))
        return 0

    try:
        chosen, with_parts = chosen_by(options)
    except rows.RowError as error:
        print(f"tools/bench: {error}", file=sys.stderr)
        return 2
    if options.needs:
        print("\n".join(needs(chosen, with_parts)))
        return 0

    folder = options.out or tempfile.mkdtemp(prefix="bench.")
    os.makedirs(folder, exist_ok=True)
    bench = measure(options, chosen, with_parts)
    with open(os.path.join(folder, "bench.json"), "w", encoding="utf-8") as text:
        json.dump(bench, text, indent=1)
        text.write("\n")
    tables = report.markdown(bench)
    with open(os.path.join(folder, "bench.md"), "w", encoding="utf-8") as text:
        text.write(tables)
    print(tables)
    print(os.path.join(folder, "bench.json"))
    print(os.path.join(folder, "bench.md"))
    draw(bench, folder)
    print(json.dumps(report.summarize(bench["rows"])))
    return 1 if failed(bench) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
