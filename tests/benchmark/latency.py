#!/usr/bin/python3
"""The latency of requests while one handoff follows the other, and without any.

README.md has what is measured. The last line is a JSON object.
"""

import csv
import os
import time

import client_rows
from client_rows import say

from handoff_server import HandoffServer
from steady_clients import SteadyClients

ROW = "latency"
KEPT = 64
# As short as leaves time to start the next process: the more handoffs there are in a
# run, the more of its requests are from within one.
WATCH = "100ms"


def none_at_all(_, end):
    time.sleep(max(0, end - time.monotonic()))
    return []


def one_after_another(server, end):
    """A new process is started when the last handoff's watch is over. When each was."""
    begun = []
    while time.monotonic() < end:
        begun.append(time.monotonic())
        server.start()
        server.await_predecessors()
    return begun


def evenly_spaced(count):
    def hand_over(server, end):
        begun = []
        start = time.monotonic()
        period = (end - start) / count
        for i in range(count):
            time.sleep(max(0, start + (i + 0.5) * period - time.monotonic()))
            begun.append(time.monotonic())
            server.start()
            server.await_predecessors()
        time.sleep(max(0, end - time.monotonic()))
        return begun

    return hand_over


def run(options, name, seconds, hand_over):
    """What the clients saw in `seconds`, the worst latencies, and when handoffs began."""
    folder = client_rows.subfolder(options, name)
    series = os.path.join(folder, "series.csv")
    flags = [f"--workers={client_rows.WORKERS}", "--idle_timeout=1h", f"--watch={WATCH}"]
    with HandoffServer(options.server, folder, flags) as server:
        server.start()
        with SteadyClients(
            options.steady_clients,
            server.address,
            [f"--kept={KEPT}", "--interval=10ms", f"--latency_series={series}"],
        ) as clients:
            clients.await_ready()
            begun = hand_over(server, time.monotonic() + seconds)
            figures = clients.stop()
        server.stop()
    client_rows.check_kept(figures)
    with open(series, encoding="ascii", newline="") as text:
        worst = [
            [float(line["seconds"]), float(line["worst_ms"])] for line in csv.DictReader(text)
        ]
    # time.monotonic() and the clients have one clock.
    return figures["kept"], worst, [round(at - figures["started"], 3) for at in begun]


def measure(options):
    pairs, seconds, shown = (2, 1.5, 3) if options.quick else (5, 12, 10)
    sides = {"bound": none_at_all, "measured": one_after_another}
    figures = {side: [] for side in sides}
    handoffs = []
    for i in range(pairs):
        # First the one, then the other: what changes meanwhile is in both.
        for side in sorted(sides, reverse=i % 2 == 1):
            kept, worst, begun = run(options, f"{side}{i}", seconds, sides[side])
            figures[side].append(kept)
            if side == "bound":
                quiet = worst
            else:
                handoffs.append(len(begun))
        both = [figures[side][-1]["p999_ms"] for side in ("measured", "bound")]
        say(f"{ROW}: {handoffs[-1]} handoffs: p99.9 {both[0]} ms, without {both[1]} ms")
    # A run to look at: so many handoffs that one can be told from the next.
    _, worst, begun = run(options, "shown", seconds, evenly_spaced(shown))
    result = {
        "unit": "ms",
        "measured": [kept["p999_ms"] for kept in figures["measured"]],
        "bound": [kept["p999_ms"] for kept in figures["bound"]],
        "connections": KEPT,
        "seconds": seconds,
        "handoffs": handoffs,
        "worst_ms": worst,
        "handoffs_s": begun,
        "bound_worst_ms": quiet,
    }
    for name in ("ok", "p50_ms", "p99_ms", "max_ms"):
        for side, runs in figures.items():
            result[f"{side}_{name}"] = [kept[name] for kept in runs]
    return result


if __name__ == "__main__":
    client_rows.main(ROW, measure)
