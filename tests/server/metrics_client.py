"""Prints what Prometheus's own client reads of a page: a sample on each line."""

import sys
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

with urllib.request.urlopen(sys.argv[1], timeout=60) as page:
    if not page.headers["Content-Type"].startswith("text/plain; version=0.0.4"):
        sys.exit("Content-Type: " + page.headers["Content-Type"])
    text = page.read().decode("utf-8")
for family in text_string_to_metric_families(text):
    if not family.documentation or family.type == "unknown":
        sys.exit("nothing is said about " + family.name)
    for sample in family.samples:
        labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
        print(f"{sample.name}{{{labels}}}", sample.value)
