"""ROUGE, chrF, chrF++ and exact match of graft against the packages rouge-score and sacrebleu, on many lines.

    <environment>/bin/python3 check_text_metrics.py WORK           compares, through build/tests/tasks/test_tasks
    <environment>/bin/python3 check_text_metrics.py --write FILE   writes the committed fixture
"""
import json
import os
import random
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import sacrebleu
from rouge_score import rouge_scorer

from common import PROJECT, Counter

TYPES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
SCORER = rouge_scorer.RougeScorer(TYPES, use_stemmer=False)
CHRF, CHRF_PP = sacrebleu.CHRF(), sacrebleu.CHRF(word_order=2)
FIXED = [("", ""), ("", "a reference"), ("a prediction", ""), (" ", "\n"), ("...", "?!"), ("a", "a"), ("A b C", "a B c"),
         ("the the the", "the"), ("a b\nc d", "c d\na b"), ("a b c\na b c", "a c\nb"), ("x y z w", "w z y x\n\nx"),
         ("İstanbul", "i stanbul"), ("aİb", "ai b"), ("300 \u212a", "300 k"), ("naïve café", "naive cafe"),
         ("привет мир", "привет, мир!"), ("今日は良い天気です。", "今日はいい天気です"), ("مرحبا بالعالم", "مرحبا يا عالم"),
         ("(hi) 'quoted' end.", "(hi 'quoted end"), ("a-b_c d's", "a b c d s"), ("tab\tand\u3000wide\u00a0space\u2003x", "tab and wide space x"),
         ("unit\u001cseparator\u0085next", "unit separator next"), ("👍🏽 ok 👨‍👩‍👧", "👍 ok"), ("...a... !", "a !"), (" same ", "same"),
         ("1,234.5", "1234.5"), ("zero\u200bwidth", "zerowidth"), ("ß ẞ ﬁ", "ss ss fi"), ("e\u0301", "é"), ("\n\n", "a\n")]
WORDS = ("the a of and model train learns film was not good Bad 2019 don't e-mail (see) end. U.S. «да» привет мир дом naïve Öl İzmir "
         "今日 天気 です 你好 مرحبا 😀 x y z - . , ; !").split(" ")


def random_rows(count, seed):
    draw = random.Random(seed)
    for _ in range(count):
        reference = [draw.choice(WORDS) for _ in range(draw.randint(0, 25))]
        prediction = [word for word in reference if draw.random() < 0.8]
        for _ in range(draw.randint(0, 6)):
            prediction.insert(draw.randint(0, len(prediction)), draw.choice(WORDS))
        if draw.random() < 0.2:
            draw.shuffle(prediction)
        if draw.random() < 0.1:
            prediction = list(reference)
        join = lambda words: "".join(word + draw.choice("   \n\t\u00a0" if draw.random() < 0.3 else " ") for word in words)
        yield join(prediction), join(reference)


def expected(rows):
    out = {"versions": {name: version(name) for name in ("rouge-score", "sacrebleu")}, "rows": []}
    sums = dict.fromkeys(TYPES, 0.0)
    rows = [(prediction.strip(), reference.strip()) for prediction, reference in rows]
    for prediction, reference in rows:
        scores = SCORER.score(reference, prediction)
        for name in TYPES:
            sums[name] += scores[name].fmeasure
        out["rows"].append({"prediction": prediction, "reference": reference, **{name: scores[name].fmeasure for name in TYPES},
                            "chrf": CHRF.corpus_score([prediction], [[reference]]).score,
                            "chrf++": CHRF_PP.corpus_score([prediction], [[reference]]).score})
    predictions, references = [p for p, _ in rows], [r for _, r in rows]
    out["all"] = {**{name: 100 * sums[name] / len(rows) for name in TYPES},
                  "chrf": CHRF.corpus_score(predictions, [references]).score,
                  "chrf++": CHRF_PP.corpus_score(predictions, [references]).score,
                  "exact_match": sum(p == r for p, r in rows) / len(rows)}
    return out


def main(work):
    work.mkdir(parents=True, exist_ok=True)
    program = Path(os.environ.get("GRAFT_TEST_TASKS", PROJECT / "build" / "tests" / "tasks" / "test_tasks"))
    counter = Counter("text metrics against rouge-score and sacrebleu")
    if not program.exists():
        counter.skip(f"{program} is not built")
    for seed in range(4) if program.exists() else ():
        rows = FIXED + list(random_rows(1000, seed))
        file = work / f"rows{seed}.json"
        file.write_text(json.dumps(expected(rows)), encoding="utf-8")
        done = subprocess.run([program, "--gtest_filter=TextMetrics.EqualsThePackages"], capture_output=True, encoding="utf-8",
                              env={**os.environ, "GRAFT_TEXT_METRICS": str(file)})
        passed = done.returncode == 0 and "[  PASSED  ] 1 test" in done.stdout
        counter.count("lines", len(rows))
        counter.difference(1e-10)  # the limit of the test
        counter.case(f"lines of seed {seed}", [] if passed else [line for line in done.stdout.splitlines() if "Failure" in line or "row" in line])
    counter.finish()


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        Path(sys.argv[2]).write_text(json.dumps(expected(FIXED + list(random_rows(30, 1))), ensure_ascii=True, indent=0) + "\n")
    else:
        main(Path(sys.argv[1]))
