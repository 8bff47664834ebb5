"""Counts the test cases of runs of Bazel, from their build event files.

The arguments are files written by --build_event_json_file. One that cannot be
read counts as a failure: the run that was to write it did not take place. Prints
a line for each and, as the last one, the sum. Exits with 1 if anything failed.

The build events are read because the folder of test logs also has what earlier
runs left behind. A test case is one of GoogleTest, or a whole test of another kind.
"""

import json
import os
import sys
import urllib.parse
import xml.etree.ElementTree


def read_events(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def count_cases(path):
    """Returns the numbers of passed, failed and skipped cases of a test.xml."""
    passed = failed = skipped = 0
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.get("status") == "notrun":
            continue
        elif case.get("result") == "skipped" or case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def count_run(events):
    """Returns the numbers of passed, failed and skipped cases of one run."""
    tests = set()
    results = {}
    exit_name = "it was cut short"
    for event in events:
        event_id = event["id"]
        if "testSize" in event.get("configured", {}):
            tests.add(event_id["targetConfigured"]["label"])
        elif "testResult" in event:
            key = event_id["testResult"]
            # A test that is tried again reports each attempt: the last one counts.
            results[key["label"], key.get("run"), key.get("shard")] = event["testResult"]
        elif "finished" in event:
            exit_name = event["finished"]["exitCode"]["name"]

    passed = failed = skipped = 0
    for (label, _, _), result in results.items():
        counts = (0, 0, 0)
        for output in result.get("testActionOutput", []):
            if output["name"] == "test.xml":
                path = urllib.parse.unquote(urllib.parse.urlparse(output["uri"]).path)
                try:
                    counts = count_cases(path)
                except (OSError, xml.etree.ElementTree.ParseError) as error:
                    print(f"{label}: {error}", file=sys.stderr)
        passed += counts[0]
        failed += counts[1]
        skipped += counts[2]
        # It timed out, crashed after its last case, or left no file.
        if result.get("status") != "PASSED" and not counts[1]:
            failed += 1

    # Tests that were to run and did not: they, or what they need, did not build.
    for label in sorted(tests - {label for label, _, _ in results}):
        print(f"{label}: did not run", file=sys.stderr)
        failed += 1
    if exit_name != "SUCCESS" and not failed:
        print(f"bazel: {exit_name}", file=sys.stderr)
        failed += 1
    return passed, failed, skipped


def main(paths):
    total_passed = total_failed = 0
    for path in paths:
        try:
            passed, failed, skipped = count_run(read_events(path))
        except (OSError, ValueError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            passed, failed, skipped = 0, 1, 0
        print(
            f"{os.path.basename(path)}: {passed} passed, {failed} failed, {skipped} skipped",
            flush=True,
        )
        total_passed += passed
        total_failed += failed
    print(f"{total_passed} passed, {total_failed} failed")
    return 1 if total_failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
