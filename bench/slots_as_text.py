#!/usr/bin/env python3
"""A conll file of words and slot tags as rows for --task seq2seq-lm: {"source": utterance, "target": "slot = words; slot = words"}.

    bench/slots_as_text.py slots.en.train.conll >train.jsonl
    bench/slots_as_text.py --baseline slots.en.train.conll slots.en.test.conll

--baseline prints the exact match of two answers that read nothing: the most frequent target of the training rows, and the target
of the training row that shares the most words with the utterance. The standard library only.
"""
import json
import sys
from collections import Counter, defaultdict


def rows(path):
    words, slots = [], []
    with open(path, encoding="utf-8") as file:
        for line in [*file, "\n"]:
            fields = line.split()
            if not fields:
                if words:
                    yield {"source": " ".join(words), "target": "; ".join(f"{tag} = {' '.join(part)}" for tag, part in slots)
                           or "nothing"}
                words, slots = [], []
                continue
            word, tag = fields[0], fields[-1]
            words.append(word)
            if tag.startswith("B-") or tag.startswith("I-") and (not slots or slots[-1][0] != tag[2:] or last == "O"):
                slots.append((tag[2:], [word]))
            elif tag != "O":
                slots[-1][1].append(word)
            last = tag


def baseline(train, test):
    known = list({row["source"]: row["target"] for row in rows(train)}.items())
    usual = Counter(row["target"] for row in rows(train)).most_common(1)[0][0]
    index = defaultdict(list)
    for i, (source, _) in enumerate(known):
        for word in set(source.lower().split()):
            index[word].append(i)
    right = {"most frequent target": 0, "target of the nearest utterance": 0}
    tests = list(rows(test))
    for row in tests:
        right["most frequent target"] += row["target"] == usual
        words = set(row["source"].lower().split())
        shared = Counter(i for word in words for i in index[word])
        best = max(shared, key=lambda i: shared[i] / len(words | set(known[i][0].lower().split())), default=0)
        right["target of the nearest utterance"] += row["target"] == known[best][1]
    for name, n in right.items():
        print(f"{name}: {n} of {len(tests)} = {n / len(tests):.3f}")


if __name__ == "__main__":
    if sys.argv[1] == "--baseline":
        baseline(*sys.argv[2:])
    else:
        for one in rows(sys.argv[1]):
            print(json.dumps(one, ensure_ascii=False))
