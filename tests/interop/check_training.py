"""Thirty training steps of graft against the reference's Trainer: same data in the same order, no dropout; loss and rate of every step.

    <environment>/bin/python3 check_training.py WORK [FAMILY...]

With GRAFT_CHECKPOINT also of that checkpoint, as a classifier.
"""
import json
import os
import sys
from pathlib import Path

import torch
import transformers
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainingArguments

import families
from common import Counter, GraftError, graft, relative
from families import FAMILIES, LABELS

STEPS, BATCH = 30, 8
ARGUMENTS = {"max_steps": STEPS, "per_device_train_batch_size": BATCH, "learning_rate": 5e-4, "weight_decay": 0.01,
             "warmup_steps": 5, "logging_steps": 1, "save_strategy": "no"}
HEADS = ["single", "multi", "regression", "s2s"]
LIMIT = 1e-5  # relative, of a step's loss
CHECKPOINT_LIMIT = 1e-4  # the same over the layers of a real model
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "dropout", "attention_dropout", "seq_classif_dropout",
            "resid_pdrop", "embd_pdrop", "attn_pdrop", "dropout_rate", "embedding_dropout", "mlp_dropout", "classifier_dropout_prob")


class InOrder(Trainer):
    """Takes the examples in the order of the data and keeps the loss of every step."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.losses = []

    def _get_train_sampler(self, *_):
        return SequentialSampler(self.train_dataset)

    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
        self.losses.append((loss[0] if isinstance(loss, tuple) else loss).item())
        return loss


def rows_of(head):
    rows = []
    for i, text in enumerate(families.sentences(60, 11)):  # seven and a half batches: the last one of an epoch is not full
        label = {"single": LABELS[i % 3], "regression": round(0.21 * (i % 9) - 0.8, 3),
                 "multi": [name for k, name in enumerate(LABELS) if (i + 1) >> k & 1]}.get(head)
        rows.append({"source": text, "target": " ".join(reversed(text.split(" ")))} if head == "s2s" else {"text": text, "label": label})
    return rows


def label_of(head, label):
    return {"single": lambda: LABELS.index(label), "regression": lambda: label,
            "multi": lambda: [float(name in label) for name in LABELS]}[head]()


def reference_steps(model, tokenizer, head, rows, work):
    if head == "s2s":
        data = [{**tokenizer(row["source"]), "labels": tokenizer(row["target"])["input_ids"]} for row in rows]
        collator = transformers.DataCollatorForSeq2Seq(tokenizer, model)
    else:
        data = [{**tokenizer(row["text"]), "labels": label_of(head, row["label"])} for row in rows]
        collator = transformers.DataCollatorWithPadding(tokenizer)
    arguments = TrainingArguments(output_dir=str(work), use_cpu=True, report_to=[], disable_tqdm=True, optim="adamw_torch",
                                  dataloader_pin_memory=False, **ARGUMENTS)
    trainer = InOrder(model=model, args=arguments, train_dataset=data, data_collator=collator)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    return trainer.losses, rates


def graft_steps(folder, head, rows, work):
    path = work / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    graft("train", {"model": folder, "task": "seq2seq-lm" if head == "s2s" else "sequence-classification", "train_file": path, "output_dir": work / "graft", "bf16": "false",
                    "train_sampling_strategy": "sequential", **ARGUMENTS})
    history = json.loads((work / "graft" / "trainer_state.json").read_text())["log_history"]
    steps = [entry for entry in history if "loss" in entry]
    return [entry["loss"] for entry in steps], [entry["learning_rate"] for entry in steps]


def check(counter, model, tokenizer, head, work, limit):
    work.mkdir(parents=True, exist_ok=True)
    for name in DROPOUTS:
        if getattr(model.config, name, None) is not None:
            setattr(model.config, name, 0.0)
    model.save_pretrained(work / "start")
    tokenizer.save_pretrained(work / "start")
    rows = rows_of(head)
    ours, our_rates = graft_steps(work / "start", head, rows, work)
    model = type(model).from_pretrained(work / "start")  # with the config that has no dropout
    losses, rates = reference_steps(model, tokenizer, head, rows, work / "reference")
    problems = []
    if not len(ours) == len(losses) == len(rates) == STEPS:
        return [f"{len(ours)} steps of graft, {len(losses)} of the reference"]
    for step, (got, want) in enumerate(zip(ours, losses)):
        difference = abs(got - want) / abs(want)
        counter.difference(difference)
        if not difference <= limit:
            problems.append(f"step {step + 1}: loss {got:.8f}, reference {want:.8f} ({difference:.2g} relative)")
    for step, (got, want) in enumerate(zip(our_rates, rates)):
        if not relative(got * 1e4, want * 1e4) <= 1e-9:
            problems.append(f"step {step + 1}: learning rate {got}, reference {want}")
    counter.count("losses", STEPS)
    counter.count("learning rates", STEPS)
    return problems


def tiny(family, head, work):
    work.mkdir(parents=True)
    tokenizer = families.make_tokenizer(family, work / "tokenizer")
    return families.make_model(family, head, tokenizer), tokenizer, head, work, LIMIT


# The head is random, and saved with the rest.
def real(folder, work):
    torch.manual_seed(11)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=len(LABELS), id2label=dict(enumerate(LABELS)), label2id={name: i for i, name in enumerate(LABELS)},
        problem_type="single_label_classification")
    return model, transformers.AutoTokenizer.from_pretrained(folder), "single", work, CHECKPOINT_LIMIT


def main(work, names):
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    counter = Counter(f"training steps against transformers {transformers.__version__}")
    runs = [(f"{family} {head}", lambda family=family, head=head: tiny(family, head, work / f"{family}-{head}"))
            for family in names or FAMILIES for head in HEADS if head in families.heads_of(family)]
    if os.environ.get("GRAFT_CHECKPOINT") and not names:
        runs.append(("the real checkpoint", lambda: real(os.environ["GRAFT_CHECKPOINT"], work / "checkpoint")))
    for name, start in runs:
        try:
            problems = check(counter, *start())
        except GraftError as error:
            problems = [str(error)]
        counter.case(name, problems)
    counter.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
