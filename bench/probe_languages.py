#!/usr/bin/env python3
"""What the embeddings of a sentence encoder say across languages, without training it: SIB-200 of ../shared (or GRAFT_SHARED).

    bench/probe_languages.py [--graft build/graft] MODEL...

Topics: a logistic regression (scikit-learn) on the embeddings of the 701 English training rows, accuracy on the 204 test rows of each language.
Retrieval: how often the nearest of the 204 English test sentences is the translation. Needs numpy and scikit-learn.
"""
import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from rows import HERE, SHARED

LANGUAGES = "en de fr es it pt zh ru".split()


def rows(language, part):
    header, *lines = (SHARED / "sets" / "sib200" / f"{language}.{part}.tsv").read_text(encoding="utf-8").rstrip("\n").split("\n")
    columns = header.split("\t")
    table = [dict(zip(columns, line.split("\t"))) for line in lines]
    return [row["text"] for row in table], [row["label"] for row in table]


def embed(graft, model, texts):
    with tempfile.TemporaryDirectory() as work:
        source, out = Path(work) / "texts.txt", Path(work) / "out.npy"
        source.write_text("\n".join(texts) + "\n", encoding="utf-8")
        subprocess.run([graft, "embed", "--model", model, "--input", source, "--output", out, "--normalize", "true"], check=True,
                       stderr=subprocess.DEVNULL)
        return np.load(out)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--graft", default=str(HERE / "build" / "graft"))
    parser.add_argument("models", nargs="+")
    args = parser.parse_args()
    texts, labels = rows("en", "train")
    tests = {language: rows(language, "test") for language in LANGUAGES}
    print(f"| model | {' | '.join(LANGUAGES)} | de to zh | retrieval |\n|{'---|' * (len(LANGUAGES) + 3)}")
    for model in args.models:
        every = embed(args.graft, model, texts + [text for language in LANGUAGES for text in tests[language][0]])
        probe = LogisticRegression(C=10, max_iter=2000).fit(every[: len(texts)], labels)
        parts = dict(zip(LANGUAGES, np.split(every[len(texts):], len(LANGUAGES))))
        topics = {language: probe.score(parts[language], tests[language][1]) for language in LANGUAGES}
        found = [np.mean((parts[language] @ parts["en"].T).argmax(1) == np.arange(len(parts["en"]))) for language in LANGUAGES[1:]]
        numbers = [*topics.values(), np.mean([topics[language] for language in LANGUAGES[1:-1]]), np.mean(found)]
        print(f"| {Path(model).name} | {' | '.join(f'{x:.3f}' for x in numbers)} |", flush=True)


main()
