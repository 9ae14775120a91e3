"""Entity metrics of graft against the package seqeval, in its default and its strict mode, on many random tags.

    <environment>/bin/python3 check_seqeval.py WORK           compares, through build/tests/tasks/test_tasks
    <environment>/bin/python3 check_seqeval.py --write FILE   writes the committed fixture
"""
import json
import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

from seqeval import scheme as schemes
from seqeval.metrics import accuracy_score, classification_report
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support

from common import PROJECT, Counter

warnings.filterwarnings("ignore")
SCHEMES = {"IOB1": (schemes.IOB1, "BI"), "IOB2": (schemes.IOB2, "BI"), "BIOES": (schemes.IOBES, "BIES"), "BILOU": (schemes.BILOU, "BILU")}
# Tags by hand: (scheme or None, truth, predictions), a sentence a string.
FIXED = [(None, ["O O O"], ["O O O"]), (None, ["B-X I-X"], ["O O"]), (None, ["O O"], ["B-X I-X"]),
         (None, ["I-X I-Y B-Y"], ["I-X B-Y I-Y"]), (None, ["B-X I-Y I-X"], ["B-X I-X I-X"]), (None, ["B-X", "I-X O"], ["B-X", "B-X O"]),
         (None, ["E-X E-X S-X"], ["S-X E-X S-X"]), (None, ["B-X L-X U-X U-X"], ["B-X L-X U-X O"]), (None, ["B-a-b I-a-b"], ["B-a-b I-a"]),
         ("IOB2", ["O I-X"], ["O I-X"]), ("IOB1", ["I-X B-X O", "B-X I-X"], ["I-X I-X O", "I-X I-X"]),
         ("BIOES", ["B-X E-X S-Y", "B-X"], ["B-X I-X S-Y", "E-X"]), ("BILOU", ["B-X L-X U-Y", "L-X"], ["B-X L-X U-X", "U-X"])]


def scores(report, average, average_name):
    row = report[average]
    return {f"precision{average_name}": row["precision"], f"recall{average_name}": row["recall"], f"f1{average_name}": row["f1-score"]}


def case(scheme, truth, predictions):
    mode = {"mode": "strict", "scheme": SCHEMES[scheme][0]} if scheme else {}
    expected = {"accuracy": accuracy_score(truth, predictions)}
    precision, recall, f1, _ = precision_recall_fscore_support(truth, predictions, average="micro") if not scheme else (None,) * 4
    report = {}
    try:
        report = classification_report(truth, predictions, output_dict=True, **mode)
    except ValueError:  # no entity at all: seqeval has no mean of nothing
        pass
    if report:
        expected.update(scores(report, "micro avg", ""))
        expected.update(scores(report, "macro avg", "_macro"))
        expected.update(scores(report, "weighted avg", "_weighted"))
    elif not scheme:
        expected.update({"precision": precision, "recall": recall, "f1": f1})
    for name, row in report.items():
        if name.endswith(" avg"):
            continue
        expected.update({f"{name}_precision": row["precision"], f"{name}_recall": row["recall"], f"{name}_f1": row["f1-score"],
                         f"{name}_number": row["support"]})
    labels = sorted({tag for rows in (truth, predictions) for row in rows for tag in row} | {"O", "B-X"})
    return {"labels": labels, "truth": truth, "predictions": predictions, **({"scheme": scheme} if scheme else {}),
            "expected": {name: float(value) for name, value in expected.items() if value == value}}


def random_case(draw):
    scheme = draw.choice([None, None, *SCHEMES])
    prefixes = SCHEMES[scheme][1] if scheme else draw.choice(["BI", "BIES", "BILU"])
    tags = ["O", "O"] + [f"{p}-{t}" for p in prefixes for t in ("X", "Y", "ORG")[:draw.randint(1, 3)]]
    truth = [[draw.choice(tags) for _ in range(draw.randint(1, 12))] for _ in range(draw.randint(1, 6))]
    predictions = [[tag if draw.random() < 0.7 else draw.choice(tags) for tag in row] for row in truth]
    return case(scheme, truth, predictions)


def cases(count, seed):
    draw = random.Random(seed)
    split = lambda rows: [row.split() for row in rows]
    return [case(s, split(t), split(p)) for s, t, p in FIXED] + [random_case(draw) for _ in range(count)]


def main(work):
    work.mkdir(parents=True, exist_ok=True)
    program = Path(os.environ.get("GRAFT_TEST_TASKS", PROJECT / "build" / "tests" / "tasks" / "test_tasks"))
    counter = Counter("entity metrics against seqeval")
    if not program.exists():
        counter.skip(f"{program} is not built")
    for seed in range(4) if program.exists() else ():
        rows = cases(500, seed)
        file = work / f"cases{seed}.json"
        file.write_text(json.dumps({"cases": rows}), encoding="utf-8")
        done = subprocess.run([program, "--gtest_filter=TokenMetrics.EqualsSeqeval"], capture_output=True, encoding="utf-8",
                              env={**os.environ, "GRAFT_TOKEN_METRICS": str(file)})
        passed = done.returncode == 0 and "[  PASSED  ] 1 test" in done.stdout
        counter.count("cases", len(rows))
        counter.difference(1e-12)  # the limit of the test
        counter.case(f"cases of seed {seed}", [] if passed else [line[:300] for line in done.stdout.splitlines() if "Failure" in line or "expected" in line][:6])
    counter.finish()


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        Path(sys.argv[2]).write_text(json.dumps({"cases": cases(40, 0)}, separators=(",", ":")).replace('{"labels"', '\n{"labels"') + "\n")
    else:
        main(Path(sys.argv[1]))
