"""What the reference says of the fixtures' lines, for each tokenizer folder: NAME.json in the form that tests/text reads.

    .interop/5.24.0/bin/python3 tests/interop/make_tokenizer_golden.py tests/golden/tokenizers [NAME...]
"""
import hashlib
import json
import sys
from pathlib import Path

import tokenizers

from check_tokenizers import fixture_lines

PAIR_STEP, PAIR_DISTANCE = 3, 7
QUESTIONS = [(0, 5, 3), (15, 20, 4), (37, 42, 5), (103, 108, 6), (130, 135, 7), (141, 146, 8), (163, 168, 9), (178, 183, 10),
             (11, 16, 11), (26, 31, 12), (77, 82, 13), (120, 125, 14)]  # question, first context line, distance


def described(encoding, ids="ids"):
    words = [-1 if word is None else word for word in encoding.word_ids]
    return {ids: encoding.ids, "offsets": [place for pair in encoding.offsets for place in pair], "words": words}


def of_pair(encoding):
    return {**described(encoding), "types": encoding.type_ids,
            "seq": [-1 if sequence is None else sequence for sequence in encoding.sequence_ids]}


def golden(file):
    tokenizer, lines = tokenizers.Tokenizer.from_file(str(file)), fixture_lines()[:-1]
    tokenizer.no_truncation()
    tokenizer.no_padding()
    out = {"info": {"library": f"tokenizers {tokenizers.__version__}", "source_file": f"{file.parent.name}/{file.name}",
                    "source_sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "vocab_size": tokenizer.get_vocab_size()},
           "lines": [], "pairs": [], "windows": []}
    for line in lines:
        encoding = tokenizer.encode(line)
        entry = {**described(encoding), "plain_ids": tokenizer.encode(line, add_special_tokens=False).ids,
                 "decoded": tokenizer.decode(encoding.ids, skip_special_tokens=True),
                 "decoded_with_special": tokenizer.decode(encoding.ids, skip_special_tokens=False)}
        normalized = tokenizer.normalizer.normalize_str(line) if tokenizer.normalizer else line
        if normalized != line:
            entry["normalized"] = normalized
        out["lines"].append(entry)
    tokenizer.enable_truncation(48, strategy="longest_first")
    for a in range(0, len(lines), PAIR_STEP):
        b = (a + PAIR_DISTANCE) % len(lines)
        out["pairs"].append({"a": a, "b": b, **of_pair(tokenizer.encode(lines[a], lines[b]))})
    tokenizer.enable_truncation(64, stride=16, strategy="only_second")
    for question, first, distance in QUESTIONS:
        numbers = [(first + distance * k) % len(lines) for k in range(6)]
        encoding = tokenizer.encode(lines[question], " ".join(lines[n] for n in numbers))
        windows = [of_pair(window) for window in [encoding, *encoding.overflowing]]
        if not any(windows[0]["types"]):
            # A template without types: the reference leaves type 1 in the second text of every window but the first.
            for window in windows[1:]:
                del window["types"]
        out["windows"].append({"question": question, "context_lines": numbers, "windows": windows})
    return out


def main(root, names):
    for file in sorted(root.glob("*/tokenizer.json")):
        if not names or file.parent.name in names:
            (root / f"{file.parent.name}.json").write_text(json.dumps(golden(file), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
