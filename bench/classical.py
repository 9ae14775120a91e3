#!/usr/bin/env python3
"""Baselines without a network, for the tables of docs/results.md.

    bench/classical.py tags TRAIN.conll TEST.conll          each word's most frequent tag in TRAIN; O (or the most frequent) for others
    bench/classical.py letters TRAIN.conll TEST.conll...    tags from runs of 1 to 4 characters of a word and of its neighbours, with
                                                            logistic regression (scikit-learn); for texts of other languages
    bench/classical.py answers TEST.json                    SQuAD json: of the sentence that shares the rarest words with the question,
                                                            the first number or capitalised name that the question does not hold
    bench/classical.py runs TEST.json...                    the same with the rarest runs of 3 characters, for texts of other languages
    bench/classical.py texts TRAIN TEST                     tf-idf of words and word pairs with logistic regression (scikit-learn); csv
                                                            or tsv with the columns text and label
    bench/classical.py characters TRAIN TEST...             the same with runs of 1 to 4 characters, for texts of other languages
    bench/classical.py pairs TEST.csv                       retrieval by character 3-grams, tf-idf: columns anchor and positive

Prints accuracy and entity F1 (tags), exact match and F1 (answers), accuracy (texts), mrr@10 and recall@1 (pairs). The
standard library only, but for letters, texts and characters.
"""
import collections
import csv
import json
import math
import re
import string
import sys
from pathlib import Path


def sentences(path):
    rows = []
    for line in [*open(path, encoding="utf-8"), "\n"]:
        fields = line.split()
        if fields and not line.startswith("#"):
            rows.append((fields[0], fields[-1]))
        elif rows:
            yield rows
            rows = []


def entities(tags):
    """The spans (type, begin, end) of IOB2 tags, as seqeval's default mode reads them."""
    spans, begin, kind = set(), 0, None
    for i, tag in enumerate([*tags, "O"]):
        here = tag[2:] if tag[:2] in ("B-", "I-") else None
        if kind is not None and (here != kind or tag.startswith("B-")):
            spans.add((kind, begin, i))
            kind = None
        if here is not None and kind is None:
            begin, kind = i, here
    return spans


def report_tags(truths, guesses, name):
    right = words = found = wanted = common = 0
    for truth, guess in zip(truths, guesses):
        right += sum(a == b for a, b in zip(guess, truth))
        words += len(truth)
        a, b = entities(guess), entities(truth)
        found, wanted, common = found + len(a), wanted + len(b), common + len(a & b)
    print(f"{name}accuracy {right / words:.4f}" + (f", F1 of the entities {2 * common / (found + wanted):.4f}" if wanted else ""))


def tag_words(train, test):
    seen = collections.defaultdict(collections.Counter)
    for rows in sentences(train):
        for word, tag in rows:
            seen[word.lower()][tag] += 1
    usual = collections.Counter(tag for counts in seen.values() for tag in counts.elements()).most_common(1)[0][0]
    rows = list(sentences(test))
    guesses = [[seen[word.lower()].most_common(1)[0][0] if word.lower() in seen else usual for word, _ in row] for row in rows]
    report_tags([[tag for _, tag in row] for row in rows], guesses, "")


def tag_letters(train, *tests):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_union

    def read(path):
        """Each word with the ones before and after it, and the tags of each sentence."""
        words, tags = [], []
        for row in sentences(path):
            text = ["", *(word for word, _ in row), ""]
            words += [text[i - 1:i + 2] for i in range(1, len(text) - 1)]
            tags.append([tag for _, tag in row])
        return words, tags

    def runs(place):
        return TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), lowercase=False, min_df=2, preprocessor=lambda words: words[place])

    words, tags = read(train)
    vectors = make_union(runs(0), runs(1), runs(2))
    model = LogisticRegression(C=10, max_iter=300).fit(vectors.fit_transform(words), [tag for row in tags for tag in row])
    for test in tests:
        words, tags = read(test)
        guesses = iter(model.predict(vectors.transform(words)))
        report_tags(tags, [[next(guesses) for _ in row] for row in tags], f"{Path(test).name}: ")


def normal(text):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def f1(answer, truth):
    common = sum((collections.Counter(answer) & collections.Counter(truth)).values())
    return 2 * common / (len(answer) + len(truth)) if common else 0.0


def answer_of(question, context):
    asked = set(normal(question))
    parts = re.split(r"(?<=[.?!])\s+", context)
    holders = collections.Counter(word for part in parts for word in set(normal(part)))
    best = max(parts, key=lambda part: sum(1 / holders[word] for word in asked & set(normal(part))))
    span = r"\d[\d.,]*(?: (?:million|billion|percent))?|[A-Z][\w'-]*(?: (?:of |the )?[A-Z][\w'-]*)*"
    if re.search(r"(?i)how (many|much|old|long)|what year|when", question):
        span = r"\d[\d.,]*(?: (?:million|billion|percent))?"
    for found in re.findall(span, best):
        if normal(found) and not set(normal(found)) & asked:
            return found
    return best


def pieces(text):
    """Words without articles; the characters of texts without spaces: the official normalisation for Chinese."""
    return [piece for word in normal(text) for piece in (word if re.search(r"[\u4e00-\u9fff]", word) else [word])]


def answer_by_runs(question, context):
    def runs(text):
        text = f" {' '.join(text.lower().split())} "
        return {text[i:i + 3] for i in range(len(text) - 2)}

    asked, parts = runs(question), re.split(r"(?<=[.?!])\s+|(?<=[。！？])", context)
    holders = collections.Counter(run for part in parts for run in runs(part))
    best = max(parts, key=lambda part: sum(1 / holders[run] for run in asked & runs(part)))
    for found in re.findall(r"\d[\d.,]*|[^\W\d_][\w'-]*(?: [^\W\d_][\w'-]*)?", best):
        if (found[0].isdigit() or found[0].isupper()) and not set(normal(found)) & set(normal(question)):
            return found.rstrip(".,")
    return best


def answer_files(paths, answer_of, words):
    for path in paths:
        exact = overlap = count = 0
        for article in json.load(open(path, encoding="utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                for qa in paragraph["qas"]:
                    truths = [words(a["text"]) for a in qa["answers"]]
                    answer = words(answer_of(qa["question"], paragraph["context"]))
                    exact += answer in truths
                    overlap += max(f1(answer, truth) for truth in truths)
                    count += 1
        print(f"{Path(path).name}: exact match {100 * exact / count:.2f}, F1 {100 * overlap / count:.2f}, {count} questions")


def answer_questions(path):
    answer_files([path], answer_of, normal)


def answer_by_runs_of(*paths):
    answer_files(paths, answer_by_runs, pieces)


def pair_texts(path):
    rows = list(csv.DictReader(open(path, encoding="utf-8")))

    def grams(text):
        text = f" {' '.join(text.lower().split())} "
        return collections.Counter(text[i:i + 3] for i in range(len(text) - 2))

    anchors, positives = [grams(r["anchor"]) for r in rows], [grams(r["positive"]) for r in rows]
    documents = collections.Counter(gram for text in positives for gram in text)
    weight = {gram: math.log(1 + len(rows) / n) for gram, n in documents.items()}

    def vector(counts):
        scaled = {gram: n * weight[gram] for gram, n in counts.items() if gram in weight}
        norm = math.sqrt(sum(x * x for x in scaled.values())) or 1
        return {gram: x / norm for gram, x in scaled.items()}

    index = collections.defaultdict(list)
    for i, text in enumerate(positives):
        for gram, x in vector(text).items():
            index[gram].append((i, x))
    reciprocal = first = 0
    for i, text in enumerate(anchors):
        scores = collections.defaultdict(float)
        for gram, x in vector(text).items():
            for j, y in index[gram]:
                scores[j] += x * y
        own = scores.get(i, 0)
        rank = 1 + sum(score > own for score in scores.values())
        reciprocal += 1 / rank if rank <= 10 and own > 0 else 0
        first += rank == 1 and own > 0
    print(f"mrr@10 {reciprocal / len(rows):.4f}, recall@1 {first / len(rows):.4f}, {len(rows)} pairs")


def classify(train, tests, **vectorizer):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    def read(path):
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, **({"delimiter": "\t", "quoting": csv.QUOTE_NONE} if path.endswith(".tsv") else {})))
        return [row["text"] for row in rows], [row["label"] for row in rows]

    texts, labels = read(train)
    vectors = TfidfVectorizer(sublinear_tf=True, **vectorizer)
    model = LogisticRegression(C=10, max_iter=2000).fit(vectors.fit_transform(texts), labels)
    for test in tests:
        texts, labels = read(test)
        print(f"accuracy {model.score(vectors.transform(texts), labels):.4f}, {len(texts)} texts" + (f" of {test}" if len(tests) > 1 else ""))


def classify_texts(train, test):
    classify(train, [test], ngram_range=(1, 2))


def classify_characters(train, *tests):
    classify(train, tests, analyzer="char_wb", ngram_range=(1, 4))


# Of each mode how many files, and whether there may be more.
MODES = {"tags": (tag_words, 2, False), "letters": (tag_letters, 2, True),
         "answers": (answer_questions, 1, False), "runs": (answer_by_runs_of, 1, True), "texts": (classify_texts, 2, False),
         "characters": (classify_characters, 2, True), "pairs": (pair_texts, 1, False)}
mode = MODES.get(sys.argv[1] if len(sys.argv) > 1 else "")
if not mode or len(sys.argv) - 2 < mode[1] or (len(sys.argv) - 2 > mode[1] and not mode[2]):
    sys.exit(__doc__)
MODES[sys.argv[1]][0](*sys.argv[2:])
