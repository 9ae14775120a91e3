"""Token classification of graft against the reference: the pipeline's entities, thirty training steps, and the folder that graft saves.

    <environment>/bin/python3 check_tokens.py WORK [FAMILY...]

Strategies none, simple, first, average and max of transformers' pipeline on folders of the reference; the losses of its Trainer
on words with tags (label of the first token of a word, or of all); the saved folder in AutoModelForTokenClassification.
"""
import json
import sys
import warnings
from pathlib import Path

import torch
import transformers
from torch.utils.data import SequentialSampler
from transformers import AutoModelForTokenClassification, AutoTokenizer, Trainer, TrainingArguments, pipeline

import families
from common import TOLERANCE, Counter, GraftError, graft, json_lines

TAGS = ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]
STRATEGIES = ["none", "simple", "first", "average", "max"]
STEPS, LIMIT = 30, 1e-5  # relative, of a step's loss
ARGUMENTS = {"max_steps": STEPS, "per_device_train_batch_size": 8, "learning_rate": 5e-4, "weight_decay": 0.01, "warmup_steps": 5,
             "logging_steps": 1, "save_strategy": "no"}
FAMILIES = ["bert", "roberta", "xlm-roberta", "camembert", "distilbert", "gpt2", "t5", "mt5", "albert", "electra", "mpnet", "modernbert",
            "deberta-v2"]
NO_DROPOUT = ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "dropout", "attention_dropout", "resid_pdrop",
              "embd_pdrop", "attn_pdrop", "dropout_rate", "embedding_dropout", "mlp_dropout", "classifier_dropout_prob"]


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


def make_start(family, folder):
    tokenizer = families.make_tokenizer(family, folder / "tokenizer")
    model = families.make_model(family, "tokens", tokenizer)
    config = model.config
    config.id2label, config.label2id = dict(enumerate(TAGS)), {tag: i for i, tag in enumerate(TAGS)}
    for name in NO_DROPOUT:
        if getattr(config, name, None) is not None or name == "classifier_dropout":
            setattr(config, name, 0.0)
    torch.manual_seed(1)
    model = AutoModelForTokenClassification.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            norm = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.1 * noise if norm else (families.FAMILIES[family].get("spread", 0.25) if parameter.ndim > 1 else 0.1) * noise)
    model.save_pretrained(folder / "start")
    tokenizer.save_pretrained(folder / "start")
    return AutoModelForTokenClassification.from_pretrained(folder / "start").eval()


def words_with_tags():
    """Sentences of words; the tags are IOB2 and follow from the places of the words."""
    rows = []
    for i, text in enumerate(families.sentences(60, 11)):
        words, tags, before = text.split(), [], "O"
        for k, word in enumerate(words):
            tag = TAGS[(i + 3 * k + len(word)) % 5]
            if tag.startswith("I-") and before[2:] != tag[2:]:
                tag = "B-" + tag[2:]
            tags.append(tag)
            before = tag
        rows.append({"words": words, "tags": tags})
    return rows


def word_tokenizer(folder):
    """As run_ner loads it. graft puts a space before each word for every byte-level tokenizer: ModernBERT's is told to."""
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    tokenizer = AutoTokenizer.from_pretrained(folder, **({"add_prefix_space": True} if kind in ("gpt2", "roberta") else {}))
    if kind == "modernbert":
        words = tokenizer.backend_tokenizer.pre_tokenizer
        words.add_prefix_space = True
        tokenizer.backend_tokenizer.pre_tokenizer = words
    return tokenizer


def encode(tokenizer, row, all_tokens):
    encoded = tokenizer(row["words"], is_split_into_words=True)
    labels, before = [], None
    for word in encoded.word_ids():
        if word is None:
            labels.append(-100)
        elif word != before:
            labels.append(TAGS.index(row["tags"][word]))
        else:
            tag = row["tags"][word]
            labels.append(TAGS.index("I-" + tag[2:] if tag.startswith("B-") else tag) if all_tokens else -100)
        before = word
    return {**{name: encoded[name] for name in ("input_ids", "attention_mask")}, "labels": labels}


def reference_losses(folder, rows, work, all_tokens):
    model, tokenizer = AutoModelForTokenClassification.from_pretrained(folder), word_tokenizer(folder)
    arguments = TrainingArguments(output_dir=str(work), use_cpu=True, report_to=[], disable_tqdm=True, optim="adamw_torch",
                                  dataloader_pin_memory=False, **ARGUMENTS)
    trainer = InOrder(model=model, args=arguments, train_dataset=[encode(tokenizer, row, all_tokens) for row in rows],
                      data_collator=transformers.DataCollatorForTokenClassification(tokenizer))
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return trainer.losses


def training_problems(counter, start, rows, work, all_tokens):
    path = work / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out = work / f"graft-{all_tokens}"
    graft("train", {"model": start, "task": "token-classification", "train_file": path, "output_dir": out, "bf16": "false",
                    "train_sampling_strategy": "sequential", "label_all_tokens": str(all_tokens).lower(), **ARGUMENTS})
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    ours, losses = [entry["loss"] for entry in history if "loss" in entry], reference_losses(start, rows, work / "reference", all_tokens)
    if not len(ours) == len(losses) == STEPS:
        return [f"{len(ours)} steps of graft, {len(losses)} of the reference"]
    problems = []
    for step, (got, want) in enumerate(zip(ours, losses)):
        difference = abs(got - want) / abs(want)
        counter.difference(difference)
        if not difference <= LIMIT:
            problems.append(f"step {step + 1}: loss {got:.8f}, reference {want:.8f} ({difference:.2g} relative)")
    counter.count("losses", STEPS)
    return problems[:3] + loading_problems(counter, out, rows)


def loading_problems(counter, folder, rows):
    """What graft saved, loaded by the reference: nothing missing or left over, the same tags and scores of words."""
    model, info = AutoModelForTokenClassification.from_pretrained(folder, output_loading_info=True)
    problems = [f"{kind}: {sorted(map(str, found))[:4]}" for kind, found in info.items() if found]
    path = folder.with_name("words.jsonl")
    path.write_text("".join(json.dumps({"words": row["words"]}) + "\n" for row in rows[:20]), encoding="utf-8")
    lines, tokenizer = json_lines(graft("predict", {"model": folder, "input": path, "bf16": "false"})), word_tokenizer(folder)
    for row, line in zip(rows, lines):
        encoded = tokenizer(row["words"], is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            inputs = {name: value for name, value in encoded.items() if name != "token_type_ids" or model.config.model_type != "roberta"}
            logits = model.eval()(**inputs).logits[0]
        want, before = [None] * len(row["words"]), None
        for i, word in enumerate(encoded.word_ids()):
            if word is not None and word != before:
                want[word] = model.config.id2label[logits[i].argmax().item()]
            before = word
        if line["tags"] != want:
            problems.append(f"tags of {row['words']} differ: {line['tags']}, reference {want}")
    counter.count("sentences", len(lines))
    return problems[:3]


def pipeline_problems(counter, start, texts, work):
    path = work / "texts.txt"
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    reference = pipeline("token-classification", model=str(start), device="cpu")
    problems = []
    for strategy in STRATEGIES:
        lines = json_lines(graft("predict", {"model": start, "input": path, "bf16": "false", "aggregation_strategy": strategy}))
        key = "entity" if strategy == "none" else "entity_group"
        for text, line in zip(texts, lines):
            want = reference(text, aggregation_strategy=strategy)
            got = line["entities"]
            same = [(e[key], e["start"], e["end"]) for e in got] == [(e[key], e["start"], e["end"]) for e in want]
            worst = max((abs(a["score"] - float(b["score"])) for a, b in zip(got, want)), default=0.0) if same else float("inf")
            counter.difference(0.0 if worst == float("inf") else worst)
            if not worst <= TOLERANCE:
                problems.append(f"{strategy}: {text!r}: {got[:3]}, reference {want[:3]}")
            counter.count("texts", 1)
    return problems[:3]


def main(work, names):
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    counter = Counter(f"token classification against transformers {transformers.__version__}")
    rows, texts = words_with_tags(), families.sentences(25, 3)
    for family in names or [family for family in FAMILIES if family in families.FAMILIES]:
        folder = work / family
        folder.mkdir(parents=True)
        make_start(family, folder)
        parts = {"pipeline": lambda: pipeline_problems(counter, folder / "start", texts, folder),
                 "first tokens": lambda: training_problems(counter, folder / "start", rows, folder, False),
                 "all tokens": lambda: training_problems(counter, folder / "start", rows, folder, True)}
        for part, problems_of in parts.items():
            try:
                problems = problems_of()
            except GraftError as error:
                problems = [str(error)]
            counter.case(f"{family} {part}", problems)
    counter.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
