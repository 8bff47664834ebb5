"""The comparison as a table in Markdown."""

_KINDS = ("kept", "short", "downloads", "uploads")

_HEADER = [
    "",
    "connections refused",
    "reset",
    "requests lost: kept, short, downloads, uploads",
    "kept connections that survived",
    "reconnects",
    "kept: p50",
    "p99",
    "p99.9",
    "max",
    "short: p50",
    "p99",
    "p99.9",
    "max",
    "longest gap",
]


def format_ms(ms):
    """Two digits or a few more, in the unit that is read most easily."""
    if ms >= 1000:
        return f"{ms / 1000:.1f} s"
    return f"{ms:.2g} ms" if ms < 10 else f"{ms:.0f} ms"


def _row(result):
    clients = result["clients"]
    kept = clients["kept"]
    latencies = [
        format_ms(clients[kind][f"{which}_ms"])
        for kind in ("kept", "short")
        for which in ("p50", "p99", "p999", "max")
    ]
    return [
        result["title"],
        clients["refused"],
        clients["reset"],
        ", ".join(str(clients[kind]["lost"]) for kind in _KINDS),
        f"{kept['survived']} of {kept['clients']}",
        kept["reconnects"],
        *latencies,
        format_ms(kept["longest_gap_ms"]),
    ]


def format_table(everything):
    """Of what compare.json has, with a line about where it was measured."""
    rows = [_HEADER, ["---"] + ["---:"] * (len(_HEADER) - 1)]
    rows += [_row(result) for result in everything["results"]]
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    machine = everything["machine"]
    requests = min(
        sum(result["clients"][kind]["ok"] for kind in _KINDS)
        for result in everything["results"]
    )
    lines += [
        "",
        f"{everything['load']['restarts']} restarts of each, under at least "
        f"{requests} requests; {machine['date']}, {machine['processors']} "
        f"processors, Linux {machine['kernel']}, nginx "
        f"{machine['nginx']}, HAProxy {machine['haproxy']}.",
    ]
    return "\n".join(lines) + "\n"
