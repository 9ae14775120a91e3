#!/usr/bin/env python3
"""Full fine-tuning beside methods that train few parameters: score, trained parameters, seconds, peak memory.

    bench/peft_table.py [--graft build/graft] [--model DIR] [--seeds 1,2,3,4,5] [--work DIR] [METHOD...] [OPTIONS OF graft train]

Methods: full lora dora ia3 seq_bn double_seq_bn par_bn bitfit prompt_tuning linear_probing; default: all. SST-2 from ../shared (or
GRAFT_SHARED): 2,000 training rows, five epochs (linear_probing: 50), accuracy on the dev set. The learning rate of each method is chosen among
three, with one seed, on 1,000 other training rows. Seconds are those of the training, memory is the peak of the process; both are medians over the seeds. Needs the
real checkpoint (scripts/get-model.sh). The standard library only.
"""
import json
import os
import re
import statistics
import subprocess
import sys

from rows import SHARED, table

# Options, epochs, learning rates.
METHODS = {
    "full": ([], 5, ["5e-5", "1e-4", "2e-4"]),
    "lora": (["--peft_type", "lora", "--target_modules", "all-linear"], 5, ["5e-4", "1e-3", "2e-3"]),
    "dora": (["--peft_type", "lora", "--target_modules", "all-linear", "--use_dora"], 5, ["5e-4", "1e-3", "2e-3"]),
    "ia3": (["--peft_type", "ia3"], 5, ["2e-3", "5e-3", "1e-2"]),
    "seq_bn": (["--peft_type", "seq_bn"], 5, ["5e-4", "1e-3", "2e-3"]),
    "double_seq_bn": (["--peft_type", "double_seq_bn"], 5, ["5e-4", "1e-3", "2e-3"]),
    "par_bn": (["--peft_type", "par_bn"], 5, ["2e-4", "5e-4", "1e-3"]),
    "bitfit": (["--peft_type", "bitfit"], 5, ["1e-3", "3e-3", "1e-2"]),
    "prompt_tuning": (["--peft_type", "prompt_tuning"], 5, ["1e-2", "3e-2", "1e-1"]),
    "linear_probing": (["--peft_type", "linear_probing"], 50, ["3e-2", "1e-1", "3e-1"]),
}


def write_rows(work):
    """SST-2's first 2,000 rows for training, the next 1,000 for the choice of the learning rate."""
    header, *rows = (SHARED / "sets" / "sst2" / "train.tsv").read_text(encoding="utf-8").splitlines()
    parts = {"train": rows[:2000], "choice": rows[2000:3000]}
    for name, part in parts.items():
        (work / f"{name}.tsv").write_text("\n".join([header, *part]) + "\n", encoding="utf-8")


def train(args, work, name, rate, test, seed):
    """Returns the results of one training, the parameters that it trained (of those that the log counts) and the peak of its memory in bytes."""
    out, (options, epochs, _) = work / name, METHODS[name]
    command = [args.graft, "train", "--model", args.model, *options, "--task", "sequence-classification", "--train_file", work / "train.tsv",
               "--test_file", test, "--output_dir", out, "--overwrite_output_dir", "true", "--num_train_epochs", epochs, "--learning_rate", rate,
               "--per_device_train_batch_size", 16, "--warmup_ratio", "0.1", "--save_strategy", "no", "--logging_strategy", "no", "--disable_tqdm",
               "true", "--seed", seed, *args.more]
    command = [str(part) for part in command]
    print("$ " + " ".join(command), file=sys.stderr, flush=True)
    with open(work / "log", "w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        log.seek(0)
        text = log.read()
    if status != 0:
        sys.exit(f"{text}{name}: graft train failed")
    results = json.loads((out / "all_results.json").read_text(encoding="utf-8"))
    trained = next((line for line in text.splitlines() if "are trained" in line), None)
    numbers = [int(n) for n in re.findall(r"(\d+) (?:parameters|of classifier|of the head)", trained)] if trained else []
    return results, sum(numbers), usage.ru_maxrss * 1024


def run(name, method, args, work):
    write_rows(work)
    seeds = args.seeds.split(",")
    chosen = max(method[2], key=lambda rate: train(args, work, name, rate, work / "choice.tsv", seeds[0])[0]["test_accuracy"])
    runs = [train(args, work, name, chosen, SHARED / "sets" / "sst2" / "dev.tsv", seed) for seed in seeds]
    return chosen, runs


def markdown(name, results):
    rate, runs = results
    scores = [one["test_accuracy"] for one, _, _ in runs]
    sd = statistics.stdev(scores) if len(scores) > 1 else 0
    trained = f"{runs[0][1]:,}" if runs[0][1] else "all"
    seconds = statistics.median(one["train_runtime"] for one, _, _ in runs)
    memory = statistics.median(peak for _, _, peak in runs)
    return f"| {name} | {rate} | {statistics.mean(scores):.4f} ({sd:.4f}) | {trained} | {seconds:.1f} | {memory / 1e6:.0f} |"


table(__doc__, METHODS, run, markdown, ["method", "learning rate", "accuracy", "trained parameters", "seconds", "peak MB"])
