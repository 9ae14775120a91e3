"""Runs every interop check and counts their cases. `./test.sh --interop` calls it.

    python3 tests/interop/run.py [PART...]       parts: folders training tokens tokenizers metrics embeddings answers reports peft adapters adapt prune; default: all

Environments: environments.py. GRAFT names another program than build/graft, GRAFT_SHARED another ../shared.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import environments
from common import GRAFT, HERE

NEWEST, OLDER, TEXT_METRICS, SENTENCE_TRANSFORMERS, TENSORBOARD, PEFT, ADAPTERS = environments.PINS
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)


def folders(work):
    """The reference writes folders, graft reads and trains them, the reference loads what graft saved."""
    made, trained = work / "folders", work / "trained"
    yield from ((release, "make_folders.py", made / release) for release in (NEWEST, OLDER))
    yield None, "check_reading.py", made, trained
    yield from ((release, "check_loading.py", trained) for release in (NEWEST, OLDER))


def training(work):
    yield from ((release, "check_training.py", work / "training" / release) for release in (NEWEST, OLDER))


def tokens(work):
    yield from ((release, "check_tokens.py", work / "tokens" / release) for release in (NEWEST, OLDER))


def tokenizers(work):
    yield NEWEST, "check_tokenizers.py", work / "tokenizers"


def metrics(work):
    yield NEWEST, "check_metrics.py", work / "metrics"
    yield TEXT_METRICS, "check_text_metrics.py", work / "text_metrics"
    yield TEXT_METRICS, "check_seqeval.py", work / "seqeval"


def embeddings(work):
    yield SENTENCE_TRANSFORMERS, "check_embeddings.py", work / "embeddings"


def answers(work):
    yield from ((release, "check_answers.py", work / "answers" / release) for release in (NEWEST, OLDER))


def adapt(work):
    yield from ((release, "check_adapt.py", work / "adapt" / release) for release in (NEWEST, OLDER))


def prune(work):
    yield from ((release, "check_prune.py", work / "prune" / release) for release in (NEWEST, OLDER))


def reports(work):
    yield TENSORBOARD, "check_reports.py", work / "reports"


def peft(work):
    yield PEFT, "check_peft.py", work / "peft"


def adapters(work):
    yield ADAPTERS, "check_adapters.py", work / "adapters"
    yield ADAPTERS, "check_language_adapters.py", work / "language_adapters"


PARTS = {"folders": folders, "tokenizers": tokenizers, "training": training, "tokens": tokens, "metrics": metrics,
         "embeddings": embeddings, "answers": answers, "reports": reports, "peft": peft, "adapters": adapters, "adapt": adapt, "prune": prune}


def run(pythons, step):
    """Runs one program; returns its output and (passed, failed, skipped). One that dies counts as a failure."""
    release, program, *arguments = step
    if release and not pythons[release]:
        print(f"skipped {program}: the packages of \"{release}\" in pins.toml cannot be installed here", flush=True)
        return 0, 0, 1
    python = pythons[release] if release else sys.executable
    start = time.monotonic()
    done = subprocess.run([python, HERE / program, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          encoding="utf-8", env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
                                                 "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"})
    output, counts = done.stdout.strip(), COUNTS.findall(done.stdout)
    if counts:
        output = COUNTS.sub("", output).strip()
    counts = tuple(map(int, counts[-1])) if counts else (0, 0, 0)
    if done.returncode and not counts[1]:
        counts = (counts[0], counts[1] + 1, counts[2])
        output = "\n".join([output, f"FAILED {program} (exit code {done.returncode})", *done.stderr.strip().splitlines()[-12:]])
    if output:
        print(f"{output}  [{time.monotonic() - start:.0f} s]", flush=True)
    return counts


def interpreter(release):
    """Of the release's environment; None for an optional one that cannot be installed."""
    try:
        return str(environments.make(release))
    except SystemExit:
        if environments.PINS[release].get("optional"):
            return None
        raise


def main(names):
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        sys.exit(f"unknown part {unknown[0]}; parts: {', '.join(PARTS)}")
    if not Path(GRAFT).exists():
        sys.exit(f"{GRAFT} is missing; build it first: ./test.sh --fast")
    pythons = {release: interpreter(release) for release in environments.PINS}
    work = Path(tempfile.mkdtemp(prefix="graft-interop-"))
    try:
        with ThreadPoolExecutor(2) as pool:  # parts side by side, the steps of a part in order
            results = pool.map(lambda name: [run(pythons, step) for step in PARTS[name](work)], names or PARTS)
            totals = [sum(column) for column in zip(*(counts for part in results for counts in part))]
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"interop: {totals[0]} passed, {totals[1]} failed, {totals[2]} skipped")
    sys.exit(1 if totals[1] or not totals[0] else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
