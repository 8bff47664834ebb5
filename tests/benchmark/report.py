"""What a run is told by: the summary of a row, and the tables of bench.md."""

import statistics


def number(value):
    """Three digits that count: 0.0123, 1.23, 12.3, 1,230."""
    if value is None:
        return "-"
    if value >= 1000:
        return f"{round(value, 3 - len(str(int(value)))):,.0f}"
    for below, digits in ((0.1, 4), (1, 3), (10, 2), (100, 1)):
        if value < below:
            return f"{value:.{digits}f}"
    return f"{value:.0f}"


def time(nanoseconds):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{number(nanoseconds / size)} {unit}"
    return f"{number(nanoseconds)} ns"


def summarize(rows):
    """By key: the median, least and greatest ratio, and the reach; or the error."""
    summary = {}
    for key, row in rows.items():
        ratios = row.get("ratios")
        summary[key] = {
            "ratio": statistics.median(ratios) if ratios else None,
            "min": min(ratios) if ratios else None,
            "max": max(ratios) if ratios else None,
            "reach": row["reach"],
        }
        if "error" in row:
            summary[key]["error"] = row["error"]
    return summary


def cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def table(head, lines):
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    out += ["| " + " | ".join(cell(value) for value in line) + " |" for line in lines]
    return "\n".join(out) + "\n"


def rows_table(rows):
    lines = []
    for key, summary in summarize(rows).items():
        row = rows[key]
        if summary["ratio"] is None:
            lines.append([key, row["what"], "failed", "", number(row["reach"]), row["error"], ""])
            continue
        measured = [number(statistics.median(row[name])) for name in ("measured", "bound")]
        lines.append(
            [
                key,
                row["what"],
                number(summary["ratio"]),
                f"{number(summary['min'])} to {number(summary['max'])}",
                number(row["reach"]),
                f"{measured[0]} {row['unit']}",
                f"{measured[1]} {row['unit']}",
            ]
        )
    return table(["row", "what", "ratio", "from, to", "reach", "measured", "bound"], lines)


def parts_table(parts):
    lines = []
    for part in parts:
        if "error" in part:
            lines.append([part["part"], "failed", "", part["error"], "", ""])
            continue
        ours = [part["part"], part["per"], time(part["ns"])]
        for bound in part["bounds"]:
            lines.append([*ours, bound["bound"], time(bound["ns"]), number(bound["ratio"])])
            # Once, with the first of its bounds.
            ours = [""] * len(ours)
    return table(["part", "per", "time", "lower bound", "its time", "ratio"], lines)


def markdown(bench):
    machine = bench["machine"]
    text = "# Benchmark\n\n"
    if bench["quick"]:
        text += "At small size, to see that it works: these figures say nothing.\n\n"
    text += (
        f"{bench['date']}, {machine['cores']} x {machine['cpu']}, Linux {machine['kernel']}"
        + (f", commit {bench['commit']}" if bench.get("commit") else "")
        + "\n"
    )
    if bench["rows"]:
        text += "\n## Whole handoffs\n\nMedians; the ratio is that of pairs of one run.\n\n"
        text += rows_table(bench["rows"])
    if bench["parts"]:
        text += "\n## Parts\n\nMedians of CPU time.\n\n" + parts_table(bench["parts"])
    if bench.get("parts_error"):
        text += f"\nThe parts have failed: {cell(bench['parts_error'])}\n"
    return text
