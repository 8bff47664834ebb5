"""Tests of bench.py and what it is made of. Executed, it runs them all."""

import contextlib
import io
import json
import os
import stat
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

import bench
import made_up
import parts
import pictures
import report
import rows


def run_bench(*argv):
    """The exit code, and the JSON of the last line."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = bench.main(list(argv))
    return code, json.loads(out.getvalue().splitlines()[-1])


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as text:
            return text.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class BenchTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="bench_test.")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def program(self, body, name="handoff_benchmark"):
        """A program in Python: the flag to give bench.py."""
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as text:
            text.write(
                f"#!{sys.executable}\nimport json, os, sys, time\n"
                "row = sys.argv[1].removeprefix('--row=')\n" + body
            )
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
        return f"--program={name}={path}"

    def printing(self, **members):
        figures = made_up.figures("", "ms", [3.0] * 5, [2.0] * 5)
        figures.update(members)
        figures.pop("row")
        return self.program(
            f"figures = json.loads({json.dumps(figures)!r})\n"
            "print('progress')\nprint(json.dumps({'row': row, **figures}))"
        )

    def run_row(self, key, *argv):
        code, summary = run_bench(f"--out={self.folder}", f"--only={key}", *argv)
        return code, summary[key]

    def test_a_row_is_the_median_of_its_ratios(self):
        given = self.printing(
            measured=[1.0, 2, 3, 4, 5], bound=[1.0] * 5, ratios=[1, 2, 3, 4, 5]
        )
        code, row = self.run_row("move_4k", given)
        self.assertEqual((code, row), (0, {"ratio": 3, "min": 1, "max": 5, "reach": 1.5}))

    def test_details_are_kept_in_bench_json(self):
        self.run_row("move_4k", self.printing(sessions=1000))
        with open(os.path.join(self.folder, "bench.json"), encoding="utf-8") as text:
            row = json.load(text)["rows"]["move_4k"]
        self.assertEqual((row["sessions"], row["unit"]), (1000, "ms"))

    def test_one_key_stands_for_all_that_begin_with_it(self):
        code, summary = run_bench(
            f"--out={self.folder}", "--only=move_256,move_4k", self.printing()
        )
        self.assertEqual(code, 0)
        self.assertEqual(
            list(summary), ["move_256_1000", "move_256_4000", "move_256_16000", "move_4k"]
        )

    def test_an_unknown_row_is_named(self):
        with contextlib.redirect_stderr(io.StringIO()) as said:
            code = bench.main([f"--out={self.folder}", "--only=speed"])
        self.assertEqual(code, 2)
        self.assertIn("no row speed", said.getvalue())

    def test_a_row_that_fails_says_why_and_the_others_go_on(self):
        given = self.program(
            "if row == 'move_4k': sys.exit('no room')\n"
            "print(json.dumps({'row': row, 'unit': 'ms',"
            " 'measured': [2] * 5, 'bound': [1] * 5, 'ratios': [2] * 5}))"
        )
        code, summary = run_bench(f"--out={self.folder}", "--only=move_4k,move_64k", given)
        self.assertEqual(code, 1)
        self.assertIn("exit code 1: no room", summary["move_4k"]["error"])
        self.assertEqual(summary["move_64k"]["ratio"], 2)

    def test_a_missing_program_fails_its_row(self):
        code, row = self.run_row("latency")
        self.assertEqual(code, 1)
        self.assertIn("no program latency", row["error"])

    def test_a_program_that_does_not_end_is_killed_with_what_it_started(self):
        mark = os.path.join(self.folder, "pid")
        given = self.program(
            f"child = os.fork()\nif child: open({mark!r}, 'w').write(str(child))\n"
            "time.sleep(1000)"
        )
        code, row = self.run_row("move_4k", given, "--row_seconds=2")
        self.assertEqual(code, 1)
        self.assertIn("no end within 2 s", row["error"])
        with open(mark, encoding="utf-8") as text:
            child = text.read()
        deadline = time.monotonic() + 30
        while lives(child):
            self.assertLess(time.monotonic(), deadline, f"process {child} lives")
            time.sleep(0.01)

    def test_figures_that_are_none_are_refused(self):
        for bad, why in (
            ({"ratios": [1.6] * 5}, "is not 1.6"),
            ({"ratios": [1.5] * 4}, "differ in length"),
            ({"measured": [3.0, float("inf")]}, "positive numbers"),
            ({"bound": [0] * 5}, "positive numbers"),
            ({"bound": "2"}, "positive numbers"),
            ({"unit": None}, "no unit"),
        ):
            with self.subTest(bad):
                code, row = self.run_row("move_4k", self.printing(**bad))
                self.assertEqual(code, 1)
                self.assertIn(why, row["error"])

    def test_other_output_than_a_result_is_refused(self):
        for body, why in (
            ("print('done')", "no JSON"),
            ("print('[]')", "no JSON object"),
            ("", "no JSON"),
            ("print(json.dumps({'row': 'move_64k'}))", "of row 'move_64k'"),
        ):
            with self.subTest(body):
                _, row = self.run_row("move_4k", self.program(body))
                self.assertIn(why, row["error"])

    def test_few_repetitions_do_for_quick_alone(self):
        given = self.printing(measured=[3.0], bound=[2.0], ratios=[1.5])
        self.assertEqual(self.run_row("move_4k", given, "--quick")[0], 0)
        code, row = self.run_row("move_4k", given)
        self.assertEqual(code, 1)
        self.assertIn("1 repetitions", row["error"])

    def test_what_rows_need_is_named(self):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            self.assertEqual(bench.main(["--needs", "--only=parts,latency"]), 0)
        self.assertEqual(
            out.getvalue().split(),
            ["latency", "part_benchmark", "server", "steady_clients"],
        )

    def argv_of(self, key, program, *given):
        given = self.program(
            "folders = [a[9:] for a in sys.argv if a.startswith('--folder=')]\n"
            "print(json.dumps({'row': row, 'unit': 'ms', 'measured': [1], 'bound': [1],"
            " 'ratios': [1], 'argv': sys.argv[1:],"
            " 'empty': [os.listdir(folder) for folder in folders]}))",
            name=program,
        ), *given
        self.run_row(key, "--quick", *given)
        with open(os.path.join(self.folder, "bench.json"), encoding="utf-8") as text:
            row = json.load(text)["rows"][key]
        return row["argv"], row["empty"]

    def test_a_program_is_told_its_row_and_what_it_needs(self):
        argv, empty = self.argv_of(
            "latency", "latency", "--program=server=/s", "--program=steady_clients=/c"
        )
        self.assertEqual(
            argv[:-1], ["--row=latency", "--server=/s", "--steady_clients=/c", "--quick"]
        )
        self.assertEqual(empty, [[]])
        self.assertFalse(os.path.exists(argv[-1].removeprefix("--folder=")))

    def test_a_program_that_wants_no_folder_is_given_none(self):
        argv, _ = self.argv_of("move_4k", "handoff_benchmark")
        self.assertEqual(argv, ["--row=move_4k", "--quick"])

    def test_a_row_may_come_with_another(self):
        longest = made_up.figures("blackout_all_max", "ms", [8.0] * 5, [2.0] * 5)
        given = self.printing(also=[longest])
        code, summary = run_bench(f"--out={self.folder}", "--only=blackout_all", given)
        self.assertEqual(code, 0)
        self.assertEqual(summary["blackout_all"]["ratio"], 1.5)
        self.assertEqual(summary["blackout_all_max"]["ratio"], 4)
        code, row = self.run_row("blackout_all_max", self.printing())
        self.assertEqual(code, 1)
        self.assertIn("not in `also`", row["error"])


def run_of(name, seconds, **members):
    return {
        "run_name": name,
        "family_index": 0,
        "run_type": "iteration",
        "cpu_time": seconds * 1e9,
        "time_unit": "ns",
        "per swap": seconds,
        **members,
    }


class PartsTest(unittest.TestCase):
    def test_a_part_is_paired_with_each_of_its_bounds(self):
        runs = [run_of("word: a/b/handoff", s) for s in (3e-8, 2e-8, 9e-8)]
        runs += [run_of("word: a/b/bound: memcpy", 1e-8), run_of("word: a/b/bound: CAS", 2e-8)]
        (part,) = parts.pair({"benchmarks": runs})
        self.assertEqual((part["part"], part["per"]), ("word: a/b", "swap"))
        self.assertAlmostEqual(part["ns"], 30)
        ratios = {bound["bound"]: bound["ratio"] for bound in part["bounds"]}
        self.assertAlmostEqual(ratios["memcpy"], 3)
        self.assertAlmostEqual(ratios["CAS"], 1.5)

    def test_an_error_is_told(self):
        runs = [
            run_of("p/handoff", 1e-9),
            run_of("p/bound: b", 0, error_occurred=True, error_message="no memory"),
        ]
        (part,) = parts.pair({"benchmarks": runs})
        self.assertEqual(part["error"], "bound: b: no memory")

    def test_a_part_without_a_bound_is_an_error(self):
        (part,) = parts.pair({"benchmarks": [run_of("p/handoff", 1e-9)]})
        self.assertEqual(part["error"], "no bound")


class PicturesTest(unittest.TestCase):
    def draw(self, figures):
        with tempfile.TemporaryDirectory() as folder:
            drawn = {}
            for path in pictures.draw_all(figures, folder):
                with open(path, encoding="utf-8") as text:
                    drawn[os.path.basename(path)] = text.read()
            return drawn

    def test_each_picture_is_drawn_with_its_units(self):
        drawn = self.draw(made_up.bench())
        self.assertEqual(
            set(drawn), {"handoff_time.svg", "blackouts.svg", "latency.svg"}
        )
        for name, svg in drawn.items():
            with self.subTest(name):
                xml.etree.ElementTree.fromstring(svg)
                self.assertIn("(ms)</text>", svg)
                self.assertLess(len(svg), 100_000)

    def test_the_same_figures_give_the_same_bytes(self):
        self.assertEqual(self.draw(made_up.bench()), self.draw(made_up.bench()))

    def test_rows_that_failed_are_left_out(self):
        figures = made_up.bench()
        figures["rows"]["latency"] = {"what": "", "reach": 2, "error": "no server"}
        figures["rows"]["move_256_4000"] = {"what": "", "reach": 2, "error": "no room"}
        drawn = self.draw(figures)
        self.assertEqual(set(drawn), {"handoff_time.svg", "blackouts.svg"})
        self.assertNotIn("4,000", drawn["handoff_time.svg"])
        figures["rows"] = {}
        self.assertEqual(self.draw(figures), {})

    def test_they_are_drawn_from_a_file_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "bench.json")
            with open(path, "w", encoding="utf-8") as text:
                json.dump(made_up.bench(), text)
            with contextlib.redirect_stdout(io.StringIO()):
                self.assertEqual(bench.main([f"--draw={path}"]), 0)
            self.assertIn("latency.svg", os.listdir(folder))


class ReportTest(unittest.TestCase):
    def test_tables_have_every_row_and_part(self):
        text = report.markdown(made_up.bench())
        self.assertIn("| longest_gap | a row that failed | failed |", text)
        self.assertIn("| word: swap | swap | 21.0 ns | compare-exchange | 10.5 ns | 2.00 |", text)
        self.assertIn("bound: memcpy: no memory", text)

    def test_numbers_have_three_digits(self):
        values = [report.number(v) for v in (0.01234, 0.1234, 1.234, 12.34, 123.4, 12345.6, 1004)]
        self.assertEqual(values, ["0.0123", "0.123", "1.23", "12.3", "123", "12,300", "1,000"])
        self.assertEqual(report.time(1234), "1.23 us")

    def test_keys_are_told_apart(self):
        self.assertEqual(len({row.key for row in rows.ROWS}), len(rows.ROWS))


if __name__ == "__main__":
    unittest.main()
