"""Run campaigns, and write their records; benchmarks/tables.py puts them into docs/reliability.md."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path

from tinyconv.host.environment import stamp

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "benchmarks" / "records"
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
NAMES = [name for name in NAMES if name != "attempt" and not name.startswith("test_")]
KEPT = 20  # failures that a record quotes


def conduct(name, count, seed, folder, say=lambda text: None):
    """The record of a campaign: its promise, what was tried by kind, the largest figures, and the failures."""
    campaign, kinds, failures = importlib.import_module(f"campaigns.{name}"), {}, []
    count = count or campaign.COUNT
    found = {"campaign": name, "promise": campaign.PROMISE, "count": count, "seed": seed, **stamp()}
    started, tried = time.monotonic(), 0
    for tried, attempt in enumerate(campaign.attempts(count, seed, folder), 1):
        row = kinds.setdefault(attempt.kind, {"tried": 0, "failed": 0, "figures": {}})
        row["tried"] += 1
        for figure, value in attempt.figures.items():
            row["figures"][figure] = max(value, row["figures"].get(figure, value))
        if attempt.failure:
            row["failed"] += 1
            failures.append(f"{attempt.kind}: {attempt.failure}")
            say(failures[-1])
        if tried % max(1, count // 10) == 0:
            say(f"{name}: {tried:,} of {count:,}, {len(failures)} failed")
    seconds = round(time.monotonic() - started)
    assert tried == count, f"{name} made {tried} attempts of {count}"
    return {**found, "seconds": seconds, "failed": len(failures), "failures": failures[:KEPT], "kinds": kinds}


def main():
    parser = argparse.ArgumentParser(prog="python -m campaigns", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all unless given")
    parser.add_argument("--count", type=int, help="attempts (default: what the page reports)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="write benchmarks/records/campaign-NAME.json")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(NAMES):
        parser.error(f"no campaign {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    failed = 0
    for name in chosen.names or NAMES:
        with tempfile.TemporaryDirectory(prefix=f"campaign-{name}-") as folder:
            record = conduct(name, chosen.count, chosen.seed, Path(folder), lambda text: print(text, flush=True))
        if chosen.record:
            path = RECORDS / f"campaign-{name}.json"
            path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
        print(f"{name}: {record['failed']} of {record['count']:,} failed, {record['seconds']:,} s", flush=True)
        failed += record["failed"]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
