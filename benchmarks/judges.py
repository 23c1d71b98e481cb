"""Ask all questions of PyTorch's databases and ONNX's node cases, and record how many were answered correctly.

python benchmarks/judges.py        # minutes; `make docs` has a page of it
"""

import json
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

from tinyconv.host.environment import commit, environment, version_of

HERE = Path(__file__).parent
RECORD = HERE / "records" / "judges.json"
COMMIT = commit()
JUDGES = {"torch": "opinfo", "layers": "modules", "optimisers": "optimisers", "onnx": "onnx_nodes"}
"""The parts of the record, and the module of tests/judges that each comes from."""


def judged(name):
    """What one judge in tests/judges found: correct answers by dtype, questions out of scope by reason, and faults."""
    tallies = __import__(name).judge_all()
    passed, reasons = Counter(), Counter()
    for tally in tallies:
        passed[tally.dtype] += tally.passed
        reasons.update(tally.out_of_scope)
    return {
        "ops": len({tally.op for tally in tallies if tally.passed}),
        "passed": dict(passed),
        "out_of_scope": dict(reasons.most_common()),
        "faults": [fault for tally in tallies for fault in tally.faults],
    }


def main():
    sys.path.append(str(HERE.parent / "tests" / "judges"))
    warnings.simplefilter("ignore")
    record = {
        "benchmark": "judges",
        "date": time.strftime("%Y-%m-%d"),
        "commit": COMMIT,
        "environment": environment(),
        "versions": {name: version_of(name) for name in ("torch", "onnx")},
        **{part: judged(module) for part, module in JUDGES.items()},
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for part in JUDGES:
        print(f"{part}: {sum(record[part]['passed'].values()):,} answered, {len(record[part]['faults'])} wrongly")


if __name__ == "__main__":
    main()
