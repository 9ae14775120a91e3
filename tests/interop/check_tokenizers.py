"""graft tokenize against tokenizers: ids, tokens and offsets of every line, for every tokenizer that is there.

    <environment>/bin/python3 check_tokenizers.py WORK [NAME...]

Tokenizers: the small ones of tests/golden/tokenizers, those of ../shared/data/tokenizers and, after scripts/get-model.sh, the real model's.
Lines: the fixtures' lines, lines of every corpus, hostile ones, and all code points in context.
"""
import json
import lzma
import os
import random
import sys
from pathlib import Path

from common import PROJECT, SHARED, Counter, GraftError, graft

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
CORPUS_LINES = 120  # of each corpus
LAST_PLANE = 0x3FFFF  # planes 4 to 13 are unassigned; 14 and the private ones are sampled


def code_points():
    """Every scalar value of planes 0 to 3, and one in 97 of the planes above."""
    for c in range(0x110000):
        if 0xD800 <= c <= 0xDFFF or c == 0x0A or (c > LAST_PLANE and c % 97 and not 0xE0000 <= c <= 0xE01EF):
            continue
        yield chr(c)


def hostile_lines():
    draw = random.Random(3)
    alphabet = ("aAbB zZ09.,'-_/\\<>[]{}()!?#@$%^&*~`|\"" "éüßñçøæ" "东京映画カナ한국어" "абвЖ" "אבג" "عربي" "हिन्दी" "ไทย" "👍👩‍👩‍👧🏽"
                "\u0300\u0301\u0323\u200b\u200d\u00a0\u3000\u2028\u0085\ufeff\t\r\0\u1e9b\u0345\ufb01")
    lines = ["", " ", "  ", "\t", "\r", "\0", "a" * 3000, " " * 500, "a " * 500, "é" * 300, "\u0301" * 50, "👍" * 100, "東" * 300,
             "<mask>", " <mask> ", "a<mask>b", "[MASK]", "a [MASK] b", "[mask]", "<s></s><pad><unk>", "[CLS] [SEP] [PAD] [UNK]", "<|endoftext|>",
             "\u00a0<mask>", "\u3000<mask>\u3000", "\t[MASK]\t", "<extra_id_0> <extra_id_1>", "▁a ▁ ▁▁", "Ġa Ċ", "<0x0A><0xE2>", "##a ##ing",
             "don't I'll we've 'S 'LL", "1234567890 1,234.56 १२३ ٣", "http://example.org/a?b=c#d", "e\u0301e\u0301", "İIıi ẞß ﬁ ǅ Σς", "\u1100\u1161\u11a8 각",
             "ggggg", "aaaaaa bbbbbb", "a\u166Db", "hello\u1885"]
    for _ in range(1500):
        lines.append("".join(draw.choice(alphabet) for _ in range(draw.randint(1, 40))))
    for _ in range(300):
        lines.append("".join(chr(draw.choice((draw.randint(32, 0x2FF), draw.randint(0x300, 0xD7FF), draw.randint(0xE000, 0x1FFFF))))
                             for _ in range(draw.randint(1, 30))))
    return lines


def corpus_lines():
    lines = []
    for path in sorted((SHARED / "data" / "corpora").glob("*/*.txt.xz")):
        with lzma.open(path, "rt", encoding="utf-8", newline="\n") as file:
            for i, line in enumerate(file):
                if i >= CORPUS_LINES:
                    break
                lines.append(line.rstrip("\n")[:2000])
    return lines


def fixture_lines():
    return (PROJECT / "tests" / "golden" / "tokenizers" / "texts.txt").read_bytes().decode().split("\n")


def reference(folder):
    """The reference's tokenizer of a folder: its tokenizer.json, or what transformers makes of the older files."""
    import tokenizers
    if (folder / "tokenizer.json").exists():
        loaded = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        loaded.no_truncation()
        loaded.no_padding()
        return loaded
    import transformers
    transformers.utils.logging.set_verbosity_error()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    family = "BertTokenizer" if (folder / "vocab.txt").exists() else settings["tokenizer_class"].removesuffix("Fast")
    return getattr(transformers, family).from_pretrained(str(folder)).backend_tokenizer


def compare(lines, loaded, folder, work, what):
    """Problems, and how many lines differ."""
    path = work / f"{folder.name}-{what}.txt"
    path.write_bytes("\n".join(lines).encode() + b"\n")
    got = graft("tokenize", {"model": folder, "input": path}).split("\n")[:-1]
    if len(got) != len(lines):
        return [f"{what}: {len(got)} answers to {len(lines)} lines"]
    different, examples = 0, []
    for begin in range(0, len(lines), 20000):
        want = loaded.encode_batch(lines[begin:begin + 20000])
        for i, encoding in enumerate(want, begin):
            ours = json.loads(got[i])
            if ours["input_ids"] == encoding.ids and [tuple(o) for o in ours["offsets"]] == encoding.offsets \
                    and ours["tokens"] == [loaded.id_to_token(id) for id in encoding.ids]:
                continue
            different += 1
            if len(examples) < 3:
                examples.append(f"{what}: {ascii(lines[i])[:90]}: graft {ours['input_ids'][:14]} {ours['offsets'][:6]}, "
                                f"reference {encoding.ids[:14]} {encoding.offsets[:6]}")
    path.unlink()
    return [f"{what}: {different} of {len(lines)} lines differ", *examples] if different else []


TRAINED = {"wordpiece": {"type": "wordpiece"}, "bpe": {"type": "bpe"},
           "bpe of GPT-2": {"type": "bpe", "special_tokens": "<|endoftext|>"}, "unigram": {"type": "unigram"},
           "unigram of T5": {"type": "unigram", "extra_ids": 100}}


def trained(options, work):
    """Problems of a vocabulary that graft trained, read as a user reads it: by transformers.AutoTokenizer."""
    import transformers
    transformers.utils.logging.set_verbosity_error()
    folder, lines = work / "-".join(["trained", *map(str, options.values())]).replace("<|", "").replace("|>", ""), fixture_lines() + hostile_lines()
    text = work / "trained.txt"
    text.write_text("\n".join(fixture_lines()) + "\n", encoding="utf-8")
    graft("train-tokenizer", {"train_file": text, "output_dir": folder, "vocab_size": 3000, **options})
    return compare(lines, transformers.AutoTokenizer.from_pretrained(str(folder)).backend_tokenizer, folder, work, "trained")


def gemma(work):
    """Problems of a tokenizer like Gemma's, which mmBERT has: byte-fallback BPE without a prefix, spaces merged with the word before."""
    import transformers
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers
    bpe = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    bpe.normalizer = normalizers.Replace(" ", "▁")
    bpe.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    bpe.train_from_iterator(fixture_lines(), trainers.BpeTrainer(vocab_size=3000, limit_alphabet=600, special_tokens=special + pieces,
                                                                max_token_length=16))
    state = json.loads(bpe.to_str())["model"]
    merges = [tuple(pair) for pair in state["merges"]]
    problems = []
    for name, settings in {"begin": {}, "begin and end": {"add_eos_token": True}}.items():
        made = transformers.GemmaTokenizer(vocab=state["vocab"], merges=merges, mask_token=AddedToken("<mask>", lstrip=True), **settings)
        made.add_tokens([AddedToken("\n" * n, normalized=False) for n in (1, 2, 3)] + [AddedToken("▁" * n, normalized=False) for n in (2, 3, 4)])
        folder = work / f"gemma-{name.replace(' ', '-')}"
        made.save_pretrained(folder)
        loaded = transformers.AutoTokenizer.from_pretrained(str(folder)).backend_tokenizer
        for what, lines in {"fixture lines": fixture_lines(), "corpus lines": corpus_lines(), "hostile lines": hostile_lines()}.items():
            problems += compare(lines, loaded, folder, work, what) if lines else []
    return problems


def folders():
    small = sorted(path.parent for path in (PROJECT / "tests" / "golden" / "tokenizers").glob("*/tokenizer_config.json"))
    real = sorted(path.parent for path in (SHARED / "data" / "tokenizers").glob("*/tokenizer_config.json"))
    fetched = sorted(path.parent for path in (PROJECT / "models").glob("*/tokenizer.json"))
    return small, real, fetched


def main(work, names):
    import tokenizers
    counter = Counter(f"ids and offsets against tokenizers {tokenizers.__version__}")
    small, real, fetched = folders()
    if not real:
        counter.skip("the real tokenizers, which are in ../shared/data/tokenizers")
    sweep = [f"a{c}b {c}" for c in code_points()]
    kinds = {"fixture lines": fixture_lines(), "corpus lines": corpus_lines(), "hostile lines": hostile_lines(), "code points": sweep}
    chosen = [folder for folder in small + real + fetched if not names or folder.name in names]

    def check(folder):
        try:
            loaded = reference(folder)
            return [problem for what, lines in kinds.items() if lines for problem in compare(lines, loaded, folder, work, what)]
        except (GraftError, KeyError, json.JSONDecodeError) as error:
            return [f"{type(error).__name__}: {error}"]

    work.mkdir(parents=True, exist_ok=True)
    for folder in chosen:
        counter.case(f"{folder.parent.parent.name}/{folder.name}", check(folder))
        for what, lines in kinds.items():
            counter.count(what, len(lines))
    for name, options in {} if names else TRAINED.items():
        try:
            counter.case(f"trained by graft: {name}", trained(options, work))
        except (GraftError, ValueError) as error:
            counter.case(f"trained by graft: {name}", [f"{type(error).__name__}: {error}"])
    import transformers
    if not names and int(transformers.__version__.split(".")[0]) >= 5:  # the class takes a vocabulary since release 5
        counter.case("like Gemma's", gemma(work))
    counter.count("tokenizers", len(chosen))
    counter.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
