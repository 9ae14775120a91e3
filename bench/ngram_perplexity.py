#!/usr/bin/env python3
"""Perplexity of an interpolated Kneser-Ney trigram model over token ids: the baseline of a language model trained by graft.

    graft tokenize --model DIR --input train.txt >train.ids; graft tokenize --model DIR --input test.txt >test.ids
    bench/ngram_perplexity.py train.ids test.ids

A line is a text of its own, as in `graft train --task causal-lm`: its first token is not predicted, and no context crosses lines.
Chen and Goodman 1999, section 2.7, with one discount (0.75) for each order. The standard library only.
"""
import json
import math
import sys
from collections import Counter

SHIFT, DISCOUNT = 21, 0.75  # ids below 2^21


def lines(path):
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["input_ids"]


class Trigrams:
    def __init__(self, texts):
        self.trigrams, self.bigrams = Counter(), Counter()
        for ids in texts:
            for i in range(1, len(ids)):
                pair = ids[i - 1] << SHIFT | ids[i]
                self.bigrams[pair] += 1
                if i > 1:
                    self.trigrams[ids[i - 2] << 2 * SHIFT | pair] += 1
        mask = (1 << SHIFT) - 1
        # Of each context: how often it occurs and with how many words; of each word: behind how many contexts.
        self.pair_total, self.pair_kinds = Counter(), Counter()
        self.left_of_pair, self.left_total, self.left_kinds = Counter(), Counter(), Counter()
        for key, n in self.trigrams.items():
            self.pair_total[key >> SHIFT] += n
            self.pair_kinds[key >> SHIFT] += 1
            self.left_of_pair[key & ((1 << 2 * SHIFT) - 1)] += 1
        for key, n in self.left_of_pair.items():
            self.left_total[key >> SHIFT] += n
            self.left_kinds[key >> SHIFT] += 1
        self.word = Counter(key & mask for key in self.bigrams)
        self.kinds = len(self.bigrams)
        self.first_total, self.first_kinds = Counter(), Counter()
        for key, n in self.bigrams.items():
            self.first_total[key >> SHIFT] += n
            self.first_kinds[key >> SHIFT] += 1

    def unigram(self, w, vocabulary):
        lower = DISCOUNT * len(self.word) / self.kinds / vocabulary
        return max(self.word[w] - DISCOUNT, 0) / self.kinds + lower

    def bigram(self, v, w, vocabulary, counts, total, kinds):
        if not total[v]:
            return self.unigram(w, vocabulary)
        share = DISCOUNT * kinds[v] / total[v]
        return max(counts[v << SHIFT | w] - DISCOUNT, 0) / total[v] + share * self.unigram(w, vocabulary)

    def probability(self, context, w, vocabulary):
        if len(context) == 1:  # the second token of a text has one token before it
            return self.bigram(context[0], w, vocabulary, self.bigrams, self.first_total, self.first_kinds)
        u, v = context
        lower = self.bigram(v, w, vocabulary, self.left_of_pair, self.left_total, self.left_kinds)
        pair = u << SHIFT | v
        if not self.pair_total[pair]:
            return lower
        share = DISCOUNT * self.pair_kinds[pair] / self.pair_total[pair]
        return max(self.trigrams[pair << SHIFT | w] - DISCOUNT, 0) / self.pair_total[pair] + share * lower


def main(train, test):
    model = Trigrams(lines(train))
    vocabulary = len(model.word) + 1  # and one for the unseen
    total, tokens = 0.0, 0
    for ids in lines(test):
        for i in range(1, len(ids)):
            total -= math.log(model.probability(ids[max(0, i - 2):i], ids[i], vocabulary))
            tokens += 1
    print(f"trigrams {len(model.trigrams)}  tokens {tokens}  perplexity {math.exp(total / tokens):.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
