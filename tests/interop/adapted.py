"""What check_peft.py and check_adapters.py share: a tiny base model, probabilities of both programs, the losses of their steps."""
import json

import torch
import transformers

import check_training
import families
from common import TOLERANCE, graft, json_lines, worst_difference

LIMIT = 2e-5  # relative, of a step's loss


def save_base(family, work):
    """A classifier without dropout and its tokenizer in work/start; returns the folder and the tokenizer."""
    work.mkdir(parents=True)
    tokenizer = families.make_tokenizer(family, work / "tokenizer")
    model = families.make_model(family, "single", tokenizer)
    for name in check_training.DROPOUTS:
        if getattr(model.config, name, None) is not None:
            setattr(model.config, name, 0.0)
    start = work / "start"
    model.save_pretrained(start)
    tokenizer.save_pretrained(start)
    return start, tokenizer


def base_model(start):
    return transformers.AutoModelForSequenceClassification.from_pretrained(start)


def probabilities(model, tokenizer, texts):
    model.eval()
    rows = []
    for text in texts:
        with torch.no_grad():
            rows.append(torch.softmax(model(**tokenizer(text, return_tensors="pt")).logits[0].double(), -1).tolist())
    return rows


def graft_probabilities(folder, texts, work, **options):
    path = work / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    out = json_lines(graft("predict", {"model": folder, "input": path, "bf16": "false", "return_all_scores": "true", **options}))
    return [list(row["scores"].values()) for row in out]


def compare(counter, what, got, want, problems):
    difference = worst_difference(got, want)
    counter.difference(difference)
    counter.count("probabilities", sum(map(len, want)))
    if not difference <= TOLERANCE:
        problems.append(f"{what}: probabilities differ by {difference:.2g}")


def train(start, work, options, learning_rate=5e-3):
    """graft's steps in work/ours, and the adapter before the first of them in work/first. Returns the rows."""
    rows = check_training.rows_of("single")
    path = work / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = {"model": start, "task": "sequence-classification", "train_file": path, "bf16": "false", "train_sampling_strategy": "sequential",
           **check_training.ARGUMENTS, "learning_rate": learning_rate, **options}
    graft("train", {**run, "output_dir": work / "ours"})
    graft("train", {**run, "output_dir": work / "first", "max_steps": 1, "learning_rate": 0})
    return rows


def compare_steps(counter, first, tokenizer, rows, work, problems, learning_rate=5e-3):
    """The losses of work/ours with those of the reference from the model `first`."""
    saved = check_training.ARGUMENTS["learning_rate"]
    check_training.ARGUMENTS["learning_rate"] = learning_rate
    losses, _ = check_training.reference_steps(first, tokenizer, "single", rows, work / "reference")
    check_training.ARGUMENTS["learning_rate"] = saved
    history = json.loads((work / "ours" / "trainer_state.json").read_text())["log_history"]
    ours = [entry["loss"] for entry in history if "loss" in entry]
    if len(ours) != len(losses):
        problems.append(f"{len(ours)} steps of graft, {len(losses)} of the reference")
    for step, (got, want) in enumerate(zip(ours, losses)):
        difference = abs(got - want) / abs(want)
        counter.difference(difference)
        if not difference <= LIMIT:
            problems.append(f"step {step + 1}: loss {got:.8f}, reference {want:.8f} ({difference:.2g} relative)")
    counter.count("losses", len(losses))
