#!/usr/bin/env python3
"""all-MiniLM-L6-v2 distilled to three layers and a pruned vocabulary: size, speed and scores.

    bench/distill_table.py [--graft build/graft] [--model DIR] [--texts N] [--steps N] [--vocabulary N] [--seeds 1,2] [--work DIR] [--bench]

Reads English text of ../shared (or GRAFT_SHARED), sentences and passages: books, reviews, encyclopedia, dialogues. Needs the real checkpoint
(scripts/get-model.sh). Scores: cosine to the teacher on held-out text; retrieval of the paragraph that answers a question (XQuAD, English, one question
a paragraph, MRR@10); accuracy of xSID intents after fine-tuning on 1,500 rows. With --work the teacher's outputs are kept: a second run takes them
from the cache. With --bench it prints tokens/s of the distillation beside those of its parts instead. The standard library only.
"""
import argparse
import csv
import json
import lzma
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("GRAFT_SHARED", HERE.parent / "shared")) / "data"
SOURCES = ["wikipedia", "imdb_reviews", "openstax_books", "sgd_dialogues", "commonvoice_cc0", "biomed_mtl"]


def texts_of(source, n):
    """The first n different texts: of each line a sentence of 20 to 250 characters, or the beginning of the line, whole sentences of 250 to 700
    characters. The student is asked for both."""
    seen = set()
    with lzma.open(SHARED / "corpora" / "en" / f"{source}.txt.xz", "rt", encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines):
            sentences = re.split(r"(?<=[.!?])\s+", line.strip())
            passage = ""
            for sentence in sentences:
                if len(passage) + len(sentence) >= 700:
                    break
                passage = f"{passage} {sentence}".strip()
            found = [passage] if number % 2 and len(passage) >= 250 else [s for s in sentences if 20 <= len(s) <= 250][:2]
            for text in found:
                if text not in seen:
                    seen.add(text)
                    yield text
                    if len(seen) == n:
                        return


def write_texts(work, n):
    rows = [s for source in SOURCES for s in texts_of(source, n // len(SOURCES))]
    random.Random(1).shuffle(rows)
    path = work / "texts.txt"
    path.write_text("".join(row + "\n" for row in rows), encoding="utf-8")
    return path


def write_pairs(work):
    """The first question of each paragraph, and the paragraph."""
    path = work / "pairs.csv"
    data = json.loads((SHARED / "sets" / "xquad" / "en.json").read_text(encoding="utf-8"))["data"]
    with open(path, "w", newline="", encoding="utf-8") as to:
        out = csv.writer(to)
        out.writerow(["anchor", "positive"])
        for article in data:
            for paragraph in article["paragraphs"]:
                out.writerow([paragraph["qas"][0]["question"], paragraph["context"]])
    return path


def write_intents(work):
    rows = (SHARED / "sets" / "xsid" / "intents.en.train.tsv").read_text(encoding="utf-8").splitlines()
    random.Random(2).shuffle(body := rows[1:])
    path = work / "intents.tsv"
    path.write_text("\n".join(rows[:1] + body[:1500]) + "\n", encoding="utf-8")
    return path


def run(graft, *args):
    print("$ graft " + " ".join(map(str, args)), file=sys.stderr, flush=True)
    return subprocess.run([graft, *map(str, args)], check=True, stdout=subprocess.PIPE, text=True).stdout


def intents(graft, model, rows, work, seed):
    out = work / f"intents-{Path(model).name}-{seed}"
    test = SHARED / "sets" / "xsid" / "intents.en.test.tsv"
    result = json.loads(run(graft, "train", "--model", model, "--task", "sequence-classification", "--train_file", rows, "--test_file", test,
                            "--output_dir", out, "--overwrite_output_dir", "true", "--num_train_epochs", 4, "--learning_rate", "2e-4",
                            "--per_device_train_batch_size", 16, "--save_strategy", "no", "--logging_strategy", "no", "--disable_tqdm", "true",
                            "--seed", seed, "--json"))
    return result["test_accuracy"]


def distil(o, work, texts, pairs, seed):
    out = work / f"student-{seed}"
    rows = json.loads(run(o.graft, "distill", "--teacher", o.model, "--layers", 3, "--vocabulary", texts, "--vocabulary_size", o.vocabulary,
                          "--train_file", texts, "--validation_file", pairs, "--output_dir", out, "--overwrite_output_dir", "true",
                          "--teacher_cache", work / "teacher", "--per_device_train_batch_size", 64, "--max_steps", o.steps,
                          "--learning_rate", "5e-4", "--warmup_ratio", "0.05", "--lr_scheduler_type", "cosine", "--train_sampling_strategy",
                          "group_by_length", "--max_seq_length", 256, "--save_strategy", "no", "--seed", seed, "--json"))
    return out, rows


def table(o, work):
    texts, pairs, train = write_texts(work, o.texts), write_pairs(work), write_intents(work)
    print("| seed | model | cosine | MRR@10 | intents | parameters | MB | sentences/s |\n|---|---|---|---|---|---|---|---|")
    for seed in o.seeds.split(","):
        start = time.time()
        out, rows = distil(o, work, texts, pairs, seed)
        for row, folder in zip(rows, (o.model, out / "start", out)):
            accuracy = intents(o.graft, folder, train, work, seed)
            print(f"| {seed} | {row['model']} | {row['cosine']:.3f} | {row['mrr@10']:.3f} | {accuracy:.3f} | {row['parameters'] / 1e6:.1f} M | "
                  f"{row['bytes'] / 1e6:.1f} | {row['sentences_per_second']:.0f} |", flush=True)
        print(f"seed {seed}: {time.time() - start:.0f} s", file=sys.stderr)


def bench(o, work):
    """Steps of a distillation without its teacher (cached), beside what it is made of."""
    texts = write_texts(work, 3000)
    common = ["distill", "--teacher", o.model, "--layers", 3, "--train_file", texts, "--max_seq_length", 64, "--per_device_train_batch_size", 64,
              "--teacher_cache", work / "teacher", "--save_strategy", "no", "--include_tokens_per_second", "true", "--max_steps", 40,
              "--overwrite_output_dir", "true", "--disable_tqdm", "true", "--logging_strategy", "no", "--train_sampling_strategy", "sequential"]

    def rate(name, *more):
        out = work / name
        run(o.graft, *common, "--output_dir", out, *more)
        return json.loads((out / "all_results.json").read_text())["train_tokens_per_second"]

    def embed_rate(model, tokens):
        start = time.time()
        run(o.graft, "embed", "--model", model, "--input", texts, "--output", work / "out.npy", "--max_seq_length", 64, "--bf16", "true")
        return tokens / (time.time() - start)

    tokens = sum(len(json.loads(line)["input_ids"]) for line in run(o.graft, "tokenize", "--model", o.model, "--input", texts).splitlines())
    cached = rate("bench")
    teacher, student = embed_rate(o.model, tokens), embed_rate(work / "bench" / "start", tokens)
    # A backward pass is two forward passes.
    limit = 1 / (1 / teacher + 3 / student)
    uncached = 1 / (1 / cached + 1 / teacher)
    print(f"forward of the teacher {teacher:.0f} tokens/s, of the student {student:.0f}; distillation {cached:.0f} with a cached teacher, "
          f"{uncached:.0f} with it; the sum of two forwards and one backward {limit:.0f}; ratio {uncached / limit:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graft", default=str(HERE / "build" / "graft"))
    parser.add_argument("--model")
    parser.add_argument("--texts", type=int, default=18000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--vocabulary", type=int, default=14000)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--work")
    parser.add_argument("--bench", action="store_true")
    o = parser.parse_args()
    o.model = o.model or subprocess.run([HERE / "scripts" / "get-model.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(o.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        (bench if o.bench else table)(o, work)


if __name__ == "__main__":
    main()
