#!/usr/bin/env python3
"""Task dialogues as a summarisation-like task for --task seq2seq-lm: {"source": the turns so far, "target": the confirmation that sums them up}.

    xz -dc sgd_dialogues.txt.xz | bench/confirmations_as_text.py OUT
    bench/confirmations_as_text.py --baseline OUT/train.jsonl OUT/test.jsonl

The target is the first sentence of a line that starts with "Please confirm"; the source is what stands before it. The first sixth of
the lines is for tests (400 rows of it) and validation (the rest, at most 300); OUT/text.txt holds all other lines, to pretrain on.
--baseline prints ROUGE-1 and ROUGE-L (F1, no stemming) and the exact match of answers that no model wrote: the last sentence of
the source, all of it, and the target of the training row that shares the most words with it. The standard library only.
"""
import json
import pathlib
import re
import sys
from collections import Counter, defaultdict

CONFIRMATION = re.compile(r"(?<=[.?!] )Please confirm\b.*?[.?!](?= [A-Z]|$)")


def row(line):
    found = CONFIRMATION.search(line)
    if not found or len(found.group()) < 40:
        return None
    return {"source": line[:found.start()].strip(), "target": found.group()}


def write(out):
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    lines = [line.rstrip("\n") for line in sys.stdin]
    held_out = len(lines) // 6
    rows = [[one for one in map(row, part) if one] for part in (lines[:held_out], lines[held_out:])]
    parts = {"test": rows[0][:400], "validation": rows[0][400:700], "train": rows[1]}
    for name, part in parts.items():
        with open(out / f"{name}.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in part)
        print(f"{name}: {len(part)} rows")
    (out / "text.txt").write_text("\n".join(lines[held_out:]) + "\n", encoding="utf-8")


def words(text):
    return re.findall(r"[a-z0-9]+", text.lower())


def f1(common, answer, target):
    return 2 * common / (len(answer) + len(target)) if common else 0.0


def longest_common(a, b):
    before = [0] * (len(b) + 1)
    for x in a:
        now = [0]
        for j, y in enumerate(b):
            now.append(before[j] + 1 if x == y else max(before[j + 1], now[j]))
        before = now
    return before[-1]


def baseline(train, test):
    train, test = ([json.loads(line) for line in open(path, encoding="utf-8")] for path in (train, test))
    index = defaultdict(list)
    for i, one in enumerate(train):
        for word in set(words(one["source"])):
            index[word].append(i)
    frequent = {word for word, places in index.items() if len(places) > len(train) // 10}

    def nearest(source):
        mine = set(words(source)) - frequent
        shared = Counter(i for word in mine for i in index[word])
        return train[max(shared, key=lambda i: shared[i] / len(mine | set(words(train[i]["source"]))), default=0)]["target"]

    answers = {"last sentence": lambda source: re.split(r"(?<=[.?!]) ", source)[-1], "whole source": lambda source: source,
               "target of the nearest source": nearest}
    for name, answer in answers.items():
        rouge_1 = rouge_l = exact = 0
        for one in test:
            text = answer(one["source"])
            a, b = words(text), words(one["target"])
            rouge_1 += f1(sum((Counter(a) & Counter(b)).values()), a, b)
            rouge_l += f1(longest_common(a, b), a, b)
            exact += text == one["target"]
        print(f"{name}: rouge1 {rouge_1 / len(test):.4f}  rougeL {rouge_l / len(test):.4f}  exact_match {exact / len(test):.4f}")


if __name__ == "__main__":
    if sys.argv[1] == "--baseline":
        baseline(*sys.argv[2:])
    else:
        write(sys.argv[1])
