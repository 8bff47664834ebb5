"""A bench.json with made-up figures of every row, to look at tables and pictures with."""

import json
import random
import sys


def figures(row, unit, measured, bound):
    return {
        "row": row,
        "unit": unit,
        "measured": measured,
        "bound": bound,
        "ratios": [m / b for m, b in zip(measured, bound)],
    }


def repetitions(rng, middle, spread=0.1):
    return [middle * (1 + spread * rng.random()) for _ in range(5)]


def bench(seed=1):
    rng = random.Random(seed)
    rows = {}
    for n in (1000, 4000, 16000):
        key = f"move_256_{n}"
        rows[key] = figures(
            key, "ms", repetitions(rng, n / 90, 0.3), repetitions(rng, n / 160)
        )
        rows[key]["sessions"] = n
    changed = [rng.lognormvariate(0.2, 0.25) for _ in range(16000)]
    every = [rng.lognormvariate(3.4, 0.1) for _ in range(16000)]
    rows["blackout_changed"] = figures(
        "blackout_changed", "ms", repetitions(rng, 2.1), repetitions(rng, 1.6)
    )
    rows["blackout_changed"]["blackouts_ms"] = changed
    rows["blackout_all"] = figures(
        "blackout_all", "ms", repetitions(rng, 38), repetitions(rng, 21)
    )
    rows["blackout_all"]["blackouts_ms"] = every
    rows["latency"] = figures(
        "latency", "ms", repetitions(rng, 1.9), repetitions(rng, 1.1)
    )
    handoffs = [1 + 1.5 * i for i in range(10)]
    worst = []
    for i in range(170):
        at = i / 10
        near = any(0 <= at - h < 0.1 for h in handoffs)
        worst.append([at, rng.uniform(0.4, 1.0) + (rng.uniform(2, 5) if near else 0)])
    rows["latency"].update(worst_ms=worst, handoffs_s=handoffs)
    for key, row in rows.items():
        row.update(what=f"what {key} is", reach=1.5)
    rows["longest_gap"] = {"what": "a row that failed", "reach": 0.1, "error": "no nginx"}
    parts = [
        {
            "part": "word: swap",
            "per": "swap",
            "ns": 21.0,
            "min_ns": 20.0,
            "max_ns": 22.0,
            "repetitions": 5,
            "bounds": [
                {"bound": "compare-exchange", "ns": 10.5, "ratio": 2.0, "repetitions": 5}
            ],
        },
        {"part": "a part that failed", "error": "bound: memcpy: no memory"},
    ]
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "machine": {"kernel": "6.1", "cpu": "made up", "cores": 2},
        "commit": "",
        "quick": False,
        "rows": rows,
        "parts": parts,
    }


if __name__ == "__main__":
    json.dump(bench(), sys.stdout)
