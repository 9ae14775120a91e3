"""The comparison of answers by the official scripts, written again: evaluate-v1.1.py and evaluate-v2.0.py of SQuAD, mlqa_evaluation_v1.py.

    answer_scripts.py FILE       writes rows with their scores, which tests/tasks/answers_test.cpp compares with (standard library only)
"""
import collections
import json
import random
import re
import string
import sys
import unicodedata
from pathlib import Path

PUNCTUATION = {chr(i) for i in range(sys.maxunicode) if unicodedata.category(chr(i)).startswith("P")} | set(string.punctuation)
ARTICLES = {"en": r"\b(a|an|the)\b", "es": r"\b(un|una|unos|unas|el|la|los|las)\b", "vi": r"\b(của|là|cái|chiếc|những)\b",
            "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b", "ar": "\\sال^|ال"}


def mixed_segmentation(text):
    out, rest = [], ""
    for char in text:
        if re.search("[\u4e00-\u9fa5]", char) or char in PUNCTUATION:
            out += rest.split() + [char]
            rest = ""
        else:
            rest += char
    return out + rest.split()


def normalize_answer(text, language="en"):
    removed = set(string.punctuation) if language == "en" else PUNCTUATION
    text = "".join(char for char in text.lower() if char not in removed)
    if language in ARTICLES:
        text = re.sub(ARTICLES[language], " ", text)
    return " ".join(token for token in (mixed_segmentation(text) if language == "zh" else text.split()) if token.strip())


def f1_score(predicted, gold, language="en", version_2=False):
    p, g = normalize_answer(predicted, language).split(), normalize_answer(gold, language).split()
    if version_2 and not (p and g):
        return float(p == g)
    same = sum((collections.Counter(p) & collections.Counter(g)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(p), same / len(g)
    return 2 * precision * recall / (precision + recall)


def score(predicted, golds, language="en", version_2=False):
    """(exact match, F1) of an answer, the best over the right ones."""
    if version_2:
        golds = [gold for gold in golds if normalize_answer(gold, language)] or [""]
    exact = max(float(normalize_answer(predicted, language) == normalize_answer(gold, language)) for gold in golds)
    return exact, max(f1_score(predicted, gold, language, version_2) for gold in golds)


WORDS = ("the a an The theatre cat's U.S. (1990) $5 50% naïve «да» “q” 10–12 _x_ den Der das Haus Straße EINE el La niño los ¿qué? của LÀ những "
         "cái nhà الكتاب ال والكتاب بيت، الرئيس؟ हिन्दी की। 黑豹队 在2015年, NFL （美国） 第50届 そして カナ дом Это ёлка… İ ﬁn e\u0301te the\u0301 x² Ⅷ ٣").split()


def rows(count, seed):
    draw = random.Random(seed)
    languages = ["en", "de", "es", "ar", "hi", "vi", "zh", "other"]
    for i in range(count):
        gold = [draw.choice(WORDS) for _ in range(draw.randint(0, 6))]
        predicted = [word for word in gold if draw.random() < 0.8] + [draw.choice(WORDS) for _ in range(draw.randint(0, 2))]
        join = lambda words: "".join(word + draw.choice(["", " ", " ", "  ", "\u00a0", "\u3000", "-"]) for word in words)
        golds = [join(gold)] + [join(draw.sample(gold, len(gold))) for _ in range(draw.randint(0, 2))]
        predicted, language, version_2 = join(predicted), languages[i % 8], i % 3 == 0
        exact, f1 = score(predicted, golds, language, version_2)
        yield {"language": language, "version_2": version_2, "prediction": predicted, "answers": golds, "exact": exact, "f1": f1}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("[\n" + ",\n".join(json.dumps(row) for row in rows(240, 1)) + "\n]\n")
