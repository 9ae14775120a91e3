#!/usr/bin/env python3
"""The samples of ../shared/data that docs/results.md trains on, so that a run with five seeds takes minutes.

    bench/samples.py OUT

intents.train.tsv (300 of xSID's English rows), agnews.train.csv (400), agnews.test.csv (2,000), pos.train.conll (1,000
sentences), ncbi.train.conll (1,500), pairs.{train,dev,test}.csv: English sentences with their German translations, from
documentation, and tydiqa.train.json (1,000 questions). Rows whose text occurs in the test set are left out of intents and pos. The standard library only.
"""
import csv
import json
import lzma
import pathlib
import random
import sys

DATA = pathlib.Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def lines(path):
    return [line for line in (DATA / "sets" / path).read_text(encoding="utf-8").split("\n") if line]


def sentences(path):
    return [part for part in (DATA / "sets" / path).read_text(encoding="utf-8").split("\n\n") if part.strip()]


def words(sentence):
    return " ".join(line.split("\t")[0] for line in sentence.split("\n"))


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def intents(out):
    seen = {line.split("\t")[0] for line in lines("xsid/intents.en.test.tsv")}
    header, *rows = lines("xsid/intents.en.train.tsv")
    rows = [row for row in rows if row.split("\t")[0] not in seen]
    (out / "intents.train.tsv").write_text("\n".join([header, *random.sample(rows, 300)]) + "\n", encoding="utf-8")


def topics(out):
    for part, count in (("train", 400), ("test", 2000)):
        with open(DATA / "sets" / "ag_news" / f"{part}.csv", newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        write_csv(out / f"agnews.{part}.csv", [header, *random.sample(rows, count)])


def tags(out):
    seen = {words(sentence) for sentence in sentences("ud_pos/en.test.conll")}
    kept = [sentence for sentence in sentences("ud_pos/en.train.conll") if words(sentence) not in seen]
    (out / "pos.train.conll").write_text("\n\n".join(random.sample(kept, 1000)) + "\n\n", encoding="utf-8")
    kept = sentences("ncbi_disease/train.conll")
    (out / "ncbi.train.conll").write_text("\n\n".join(random.sample(kept, 1500)) + "\n\n", encoding="utf-8")


def pairs(out):
    seen, rows = set(), []
    for source in ("opensource_guide", "comprehensive_rust", "electron_docs", "mozilla_web"):
        with lzma.open(DATA / "parallel" / "en-de" / f"{source}.tsv.xz", "rt", encoding="utf-8") as file:
            for line in file:
                fields = line.rstrip("\n").split("\t")
                if len(fields) == 2 and 5 <= len(fields[0].split()) <= 40 and fields[0] != fields[1] and not seen & set(fields):
                    seen.update(fields)
                    rows.append(fields)
    random.shuffle(rows)
    for part, begin, end in (("test", 0, 600), ("dev", 600, 800), ("train", 800, len(rows))):
        write_csv(out / f"pairs.{part}.csv", [["anchor", "positive"], *rows[begin:end]])


def questions(out):
    paragraphs = [p for d in json.loads("\n".join(lines("tydiqa_goldp/en.train.json")))["data"] for p in d["paragraphs"]]
    kept = random.sample([{"context": p["context"], "qas": [q]} for p in paragraphs for q in p["qas"]], 1000)
    (out / "tydiqa.train.json").write_text(json.dumps({"version": "1.1", "data": [{"title": "", "paragraphs": kept}]}), encoding="utf-8")


if len(sys.argv) != 2:
    sys.exit(__doc__)
random.seed(0)
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for make in (intents, topics, tags, pairs, questions):
    make(folder)
