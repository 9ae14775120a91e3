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
import random
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
    "xquad": dict(task="question-answering", train="tydiqa_goldp/en.train.json", dev="tydiqa_goldp/en.dev.json", test="xquad/{}.json",
                  languages="en de es ru zh", rows=3696, options=["--learning_rate", "1e-4", "--num_train_epochs", "2"]),
}
# Labelled rows of the targets.
FEW_SHOT = {"sib200": "sib200/{}.train.tsv", "xsid-intents": "xsid/intents.{}.valid.tsv", "xsid-slots": "xsid/slots.{}.valid.conll",
            "ud-pos": "ud_pos/{}.dev.conll"}


def sample(source, n, work, name):
    """`n` rows or sentences of the training file, drawn with a seed: xSID's are sorted by the set that they come from."""
    text = source.read_text(encoding="utf-8")
    tabular = source.suffix == ".tsv"
    parts = text.rstrip("\n").split("\n" if tabular else "\n\n")
    header, parts = (parts[:1], parts[1:]) if tabular else ([], parts)
    if len(parts) <= n:
        return source
    file = work / f"{name}.train{source.suffix}"
    file.write_text(("\n" if tabular else "\n\n").join(header + random.Random(1).sample(parts, n)) + "\n", encoding="utf-8")
    return file


def run(name, row, args, work):
    tests = ",".join(f"{language}={SETS / row['test'].format(language)}" for language in row["languages"].split())
    out, source = work / name, SETS / row["train"]
    rows = args.max_train_samples or row["rows"]
    train = source if source.suffix == ".json" else sample(source, rows, work, name)
    model = Path(args.model)
    start = ["--config_name", model / "config.json", "--tokenizer_name", model] if args.random_weights else ["--model", model]
    shots = []
    if args.few_shot and name in FEW_SHOT:
        files = {language: SETS / FEW_SHOT[name].format(language) for language in row["languages"].split() if language != "en"}
        shots = ["--few_shot", args.few_shot, "--few_shot_files", ",".join(f"{code}={file}" for code, file in files.items() if file.exists())]
    command = [args.graft, "xling", *start, *shots, "--task", row["task"], "--train_file", train,
               "--validation_file", SETS / row["dev"], "--test_files", tests, "--seeds", args.seeds,
               "--max_train_samples", rows, *row["options"], "--save_strategy", "no", "--logging_strategy", "no",
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
      [("--random_weights", dict(action="store_true")), ("--few_shot", {}), ("--max_train_samples", dict(type=int, help="default: 701 for sib200, 2000 for the others"))])
