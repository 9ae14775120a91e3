#!/usr/bin/env python3
"""English to every language: topics, intents, slots, parts of speech, names, questions.

    bench/xling_table.py [--graft build/graft] [--model DIR] [--random_weights] [--few_shot 1,4,16] [--seeds 1,2,3,4,5] [--max_train_samples N]
                         [--work DIR] [ROW...] [OPTIONS OF graft xling]

Rows: sib200 xsid-intents xsid-slots ud-pos panx xquad; default: all. Needs ../shared (or GRAFT_SHARED) and the real checkpoint
(scripts/get-model.sh). Each row is one `graft xling`, whose command is printed. With --work its stages are kept: a second run takes them from
the cache. Training rows are drawn with a seed. --random_weights takes the config and the tokenizer of --model alone. --few_shot draws rows of
sib200 (training files), xsid (validation files) and ud-pos (development files) of the target. Prints the tables of graft and one line of
markdown a row. The standard library only.
"""
import json
import random
import sys
from pathlib import Path

from rows import SHARED, run_graft, table

SETS = SHARED / "sets"

# The English test file is left out where there is none: gaps are then measured against the development rows.
ROWS = {
    "sib200": dict(task="sequence-classification", train="sib200/en.train.tsv", dev="sib200/en.dev.tsv", test="sib200/{}.test.tsv",
                   languages="en de fr es it pt ru zh", rows=701, options=["--learning_rate", "1e-4", "--num_train_epochs", "5"]),
    "xsid-intents": dict(task="sequence-classification", train="xsid/intents.en.train.tsv", dev="xsid/intents.en.valid.tsv",
                         test="xsid/intents.{}.test.tsv", languages="en de nl da it tr zh ar gsw de-ba", rows=2000,
                         options=["--learning_rate", "2e-4", "--num_train_epochs", "4", "--per_device_train_batch_size", "16"]),
    "xsid-slots": dict(task="token-classification", train="xsid/slots.en.train.conll", dev="xsid/slots.en.valid.conll",
                       test="xsid/slots.{}.test.conll", languages="en de nl da it tr zh ar gsw de-ba", rows=2000,
                       options=["--learning_rate", "3e-4", "--num_train_epochs", "4", "--per_device_train_batch_size", "16"]),
    "ud-pos": dict(task="token-classification", train="ud_pos/en.train.conll", dev="ud_pos/en.dev.conll", test="ud_pos/{}.test.conll",
                   languages="en de es fr ru zh ar hi", rows=2000,
                   options=["--learning_rate", "3e-4", "--num_train_epochs", "3", "--per_device_train_batch_size", "16"]),
    "panx": dict(task="token-classification", train="panx/en.train.conll", dev="panx/en.dev.conll", test="panx/{}.dev.conll",
                 languages="de fr es it pt ru zh", rows=2000,
                 options=["--learning_rate", "3e-4", "--num_train_epochs", "3", "--per_device_train_batch_size", "16", "--max_predict_samples", "2000",
                          "--max_eval_samples", "1000"]),
    # The answers of TyDiQA's development file are empty: its rows are of the training file, too. The average over so few steps loses 5 F1.
    "xquad": dict(task="question-answering", train="tydiqa_goldp/en.train.json", dev=None, test="xquad/{}.json", languages="en de es ru zh", rows=3256,
                  options=["--learning_rate", "3e-4", "--num_train_epochs", "2", "--per_device_train_batch_size", "16", "--warmup_ratio", "0.1",
                           "--average_checkpoints", "0"]),
}
# Labelled rows of the targets.
FEW_SHOT = {"sib200": "sib200/{}.train.tsv", "xsid-intents": "xsid/intents.{}.valid.tsv", "xsid-slots": "xsid/slots.{}.valid.conll",
            "ud-pos": "ud_pos/{}.dev.conll"}


def tags_of(part):
    return {line.split("\t")[-1] for line in part.split("\n") if "\t" in line}


def sample(source, n, work, name):
    """`n` rows or sentences of the training file, drawn with a seed: xSID's are sorted by the set that they come from. Of a tag that none
    of them has, the first sentence is added."""
    text = source.read_text(encoding="utf-8")
    tabular = source.suffix == ".tsv"
    parts = text.rstrip("\n").split("\n" if tabular else "\n\n")
    header, parts = (parts[:1], parts[1:]) if tabular else ([], parts)
    if len(parts) <= n:
        return source
    if any("\tB-" in part for part in parts):  # one tag of xSID is "Orecurring_datetime"
        parts = [part for part in parts if all(tag == "O" or tag[:2] in ("B-", "I-") for tag in tags_of(part))]
    chosen = random.Random(1).sample(parts, n)
    known = set() if tabular else set().union(*map(tags_of, chosen))
    for part in [] if tabular else parts:
        if not tags_of(part) <= known:
            chosen.append(part)
            known |= tags_of(part)
    file = work / f"{name}.train{source.suffix}"
    file.write_text(("\n" if tabular else "\n\n").join(header + chosen) + "\n", encoding="utf-8")
    return file


def questions(source, n, work):
    """`n` questions of a SQuAD file to train on, and 440 others for development."""
    paragraphs = [p for article in json.loads(source.read_text(encoding="utf-8"))["data"] for p in article["paragraphs"]]
    drawn = random.Random(1).sample(paragraphs, n + 440)
    files = {work / "xquad.train.json": drawn[:n], work / "xquad.dev.json": drawn[n:]}
    for file, part in files.items():
        file.write_text(json.dumps({"version": "1.1", "data": [{"title": "", "paragraphs": part}]}), encoding="utf-8")
    return list(files)


def readable(source, train, work):
    """The file itself, or a copy of a conll file without what graft refuses: lines with a tag and no word (six of xSID's Chinese slots), and
    sentences with a tag that no training row has (35 of 500 in Turkish, 28 in Arabic, 4 in Chinese, 3 in Italian)."""
    if source.suffix != ".conll":
        return source
    known = tags_of(train.read_text(encoding="utf-8"))
    parts = source.read_text(encoding="utf-8").rstrip("\n").split("\n\n")
    kept = ["\n".join(line for line in part.split("\n") if not line.startswith("\t")) for part in parts if tags_of(part) <= known]
    if kept == parts:
        return source
    print(f"{source}: {len(parts) - len(kept)} of {len(parts)} sentences have a tag of no training row and are left out", file=sys.stderr)
    file = work / source.name
    file.write_text("\n\n".join(kept) + "\n", encoding="utf-8")
    return file


def run(name, row, args, work):
    out, source = work / name, SETS / row["train"]
    rows = args.max_train_samples or row["rows"]
    train, dev = (sample(source, rows, work, name), SETS / row["dev"]) if row["dev"] else questions(source, rows, work)
    languages = row["languages"].split()
    tests = ",".join(f"{language}={readable(SETS / row['test'].format(language), train, work)}" for language in languages)
    model = Path(args.model)
    start = ["--config_name", model / "config.json", "--tokenizer_name", model] if args.random_weights else ["--model", model]
    shots = []
    if args.few_shot and name in FEW_SHOT:
        files = {language: SETS / FEW_SHOT[name].format(language) for language in languages if language != "en"}
        files = [f"{language}={readable(file, train, work)}" for language, file in files.items() if file.exists()]
        shots = ["--few_shot", args.few_shot, "--few_shot_files", ",".join(files)]
    command = [args.graft, "xling", *start, *shots, "--task", row["task"], "--train_file", train,
               "--validation_file", dev, "--test_files", tests, "--seeds", args.seeds, *row["options"], "--save_strategy", "no", "--logging_strategy", "no",
               "--disable_tqdm", "true", "--output_dir", out, *args.more]
    return run_graft(name, command, out / "xling_results.json")


def score(summary):
    sd = summary["sd"]
    return f"{summary['mean']:.3f}" + (f" ± {sd:.3f}" if sd is not None else "")


def markdown(name, results):
    average = results["average"]
    source = results.get("source", results["development"])
    # What averaging the weights along the run adds to the targets.
    gain = "-"
    if "not_averaged" in average:
        gain = f"{average['mean'] - sum(average['not_averaged']) / len(average['not_averaged']):+.3f}"
    languages = ", ".join(f"{t['language']} {score(t)}" for t in results["targets"])
    return f"| {name} | {results['metric']} | {score(source)} | {score(average)} | {average['gap']:.3f} | {results['worst']} | {gain} | {languages} |"


table(__doc__, ROWS, run, markdown, ["set", "metric", "en", "average", "gap", "worst", "gain of averaging", "each language"],
      [("--random_weights", dict(action="store_true")), ("--few_shot", {}), ("--max_train_samples", dict(type=int, help="default: 701 for sib200, 3256 for xquad, 2000 for the others"))])
