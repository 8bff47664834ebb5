"""Restarts servers of several kinds under the same clients, one after the other.

tools/compare builds what this needs and runs it. Prints a table; `--out` has it
as compare.md, with compare.json, compare.svg, and the latencies over time of each
contender as CSV. Exits with 1 if something could not be measured, or if
handoff_server refused, reset or lost anything: the other figures are no verdict.
"""

import argparse
import ctypes
import dataclasses
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import comparison_picture
import comparison_table
import contenders
import processes
from steady_clients import SteadyClients

_PR_SET_CHILD_SUBREAPER = 36


@dataclasses.dataclass
class Load:
    """What the clients do, and how the restarts follow each other."""

    restarts: int
    # From one restart to the next, unless the first takes longer than that less
    # the pause. More than a download or an upload, so that these end too.
    period: float = 6
    pause: float = 2
    kept: int = 64
    short: int = 8
    downloads: int = 8
    uploads: int = 8
    download_rate: int = 200_000
    download_bytes: int = 800_000
    upload_bytes: int = 200_000
    upload_seconds: float = 4
    download_file: str = ""

    def arguments(self, contender, series):
        return [
            f"--kept={self.kept}",
            "--interval=10ms",
            f"--short={self.short}",
            "--short_interval=20ms",
            f"--downloads={self.downloads}",
            f"--download_path={contender.download_path}",
            f"--download_bytes={self.download_bytes}",
            f"--uploads={self.uploads}",
            "--upload_path=/echo",
            f"--upload_bytes={self.upload_bytes}",
            f"--upload_time={self.upload_seconds}s",
            f"--spread={self.upload_seconds}s",
            f"--latency_series={series}",
        ]


def quick():
    return Load(
        restarts=2,
        period=1.5,
        pause=0.5,
        kept=16,
        short=2,
        downloads=2,
        uploads=2,
        download_bytes=200_000,
        upload_bytes=20_000,
        upload_seconds=1,
    )


def write_download(path, length):
    """The bytes of handoff_server's /stream, which the clients check."""
    with open(path, "wb") as file:
        file.write(bytes((i * 2654435761 >> 13) & 0xFF for i in range(length)))


def run(contender, load, binary, series):
    """Measures one contender, which serves. Returns what there is to say."""
    restarts = []
    with SteadyClients(
        binary, contender.address, load.arguments(contender, series)
    ) as clients:
        clients.await_ready()
        time.sleep(load.pause)
        for _ in range(load.restarts):
            began = time.monotonic()
            contender.restart()
            took = time.monotonic() - began
            restarts.append({"began": round(began, 6), "seconds": round(took, 3)})
            # A pause and no wait: the load between two restarts.
            time.sleep(max(load.pause, load.period - took))
        figures = clients.stop()
    return {
        "name": contender.name,
        "title": contender.title,
        "config": contender.config,
        "restarts": restarts,
        "clients": figures,
    }


def check(result, load):
    """What is wrong with a result, as a list of sentences."""
    clients = result["clients"]
    wrong = [
        f"{result['title']}: no {kind} was answered"
        for kind in ("kept", "short", "downloads", "uploads")
        if clients[kind]["ok"] == 0
    ]
    if result["name"] == contenders.Handoff.name:
        wrong += [
            f"{result['title']}: {clients[what]} {what}"
            for what in ("refused", "reset", "lost")
            if clients[what] != 0
        ]
        if clients["kept"]["survived"] != load.kept:
            wrong.append(
                f"{result['title']}: {clients['kept']['survived']} of "
                f"{load.kept} kept connections survived"
            )
    return wrong


def machine():
    def version(*argv):
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return re.search(r"[0-9]\S*", done.stdout or done.stderr)[0]

    with open("/proc/sys/net/ipv4/tcp_migrate_req", encoding="ascii") as file:
        migrate = int(file.read())
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "tcp_migrate_req": migrate,
        "nginx": version(contenders.NGINX, "-v"),
        "haproxy": version(contenders.HAPROXY, "-v"),
    }


def parse_arguments():
    parser = argparse.ArgumentParser(prog="tools/compare", description=__doc__)
    names = [contender.name for contender in contenders.CONTENDERS]
    parser.add_argument("--server", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--clients", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--out", help="a folder; default: a new one in /tmp")
    parser.add_argument("--restarts", type=int, help="of each; default: 10")
    parser.add_argument(
        "--quick", action="store_true", help="small: whether it works, no figures"
    )
    parser.add_argument(
        "--only", choices=names, nargs="+", default=names, help="some of them"
    )
    return parser.parse_args()


def compare(arguments, load, out, folder):
    results = []
    backend = contenders.Handoff(f"{folder}/backend", load, arguments.server)
    os.mkdir(backend.folder, 0o700)
    backend.start()
    for kind in contenders.CONTENDERS:
        if kind.name not in arguments.only:
            continue
        own = f"{folder}/{kind.name}"
        os.mkdir(own, 0o700)
        contender = kind(
            own, load, server=arguments.server, backend_port=backend.port
        )
        print(f"{contender.title} ...", file=sys.stderr, flush=True)
        contender.start()
        results.append(
            run(contender, load, arguments.clients, f"{out}/{kind.name}.csv")
        )
        contender.stop()
    backend.stop()
    return results


def main():
    arguments = parse_arguments()
    out = arguments.out or tempfile.mkdtemp(prefix="compare.", dir="/tmp")
    os.makedirs(out, exist_ok=True)
    load = quick() if arguments.quick else Load(restarts=10)
    load.restarts = arguments.restarts or load.restarts

    # For end_all(): of a process that puts itself into the background, too.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    # A short path, for Unix sockets.
    folder = tempfile.mkdtemp(prefix="compare.", dir="/tmp")
    failed = False
    try:
        load.download_file = f"{folder}/download"
        write_download(load.download_file, load.download_bytes)
        results = compare(arguments, load, out, folder)
    except Exception:
        failed = True
        print(f"the servers' logs are in {folder}", file=sys.stderr)
        raise
    finally:
        processes.end_all()
        if not failed:
            shutil.rmtree(folder)

    everything = {
        "machine": machine(),
        "load": dataclasses.asdict(load) | {"download_file": "download"},
        "results": results,
    }
    table = comparison_table.format_table(everything)
    with open(f"{out}/compare.json", "w", encoding="utf-8") as file:
        json.dump(everything, file, indent=1)
        file.write("\n")
    with open(f"{out}/compare.md", "w", encoding="utf-8") as file:
        file.write(table)
    comparison_picture.draw(everything, f"{out}/compare.svg")
    print(table)
    print(f"compare.md, compare.json, compare.svg and CSVs are in {out}")
    wrong = [sentence for result in results for sentence in check(result, load)]
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
