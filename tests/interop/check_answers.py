"""Question answering and multiple choice against the reference: what run_qa and run_swag compute, for each family that has the heads.

    <environment>/bin/python3 check_answers.py WORK [FAMILY...]

Answers of the reference's folders (its features, logits and postprocess_qa_predictions, written again below), thirty training
steps, the trained folder loaded again, the metrics by the official scripts.
"""
import json
import random
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoModelForMultipleChoice, AutoModelForQuestionAnswering

import answer_scripts
import families
from check_training import ARGUMENTS, LIMIT, STEPS, InOrder
from common import TOLERANCE, Counter, GraftError, graft, json_lines

CHOICE_FAMILIES = ["bert", "roberta", "xlm-roberta", "camembert", "distilbert", "albert", "electra", "mpnet", "modernbert", "deberta-v2"]
SPAN_FAMILIES = CHOICE_FAMILIES + ["gpt2", "t5", "mt5"]
families.HEADS.update(span=(AutoModelForQuestionAnswering, {}), choice=(AutoModelForMultipleChoice, {}))
WINDOW = {"max_seq_length": 32, "doc_stride": 8}
NAMES = ("input_ids", "attention_mask", "token_type_ids")
TRAINING = {**ARGUMENTS, "per_device_train_batch_size": 1}  # no padding, whose positions the reference's softmax reads


def questions(n, seed, unanswerable=False):
    draw, rows = random.Random(seed), []
    for i in range(n):
        words = [draw.choice(families.WORDS) for _ in range(draw.randint(8, 60))]
        begin = draw.randrange(len(words))
        answer = " ".join(words[begin:begin + draw.randint(1, 3)])
        start = len(" ".join(words[:begin])) + (begin > 0)
        answers = [] if unanswerable and i % 3 == 0 else [(answer, start)]
        if answers and i % 4 == 1:
            answers.append((words[begin], start))
        rows.append({"id": f"q{i}", "question": draw.choice(["", " "]) + " ".join(draw.choice(families.WORDS) for _ in range(3)),
                     "context": " ".join(words), "answers": {"text": [a for a, _ in answers], "answer_start": [s for _, s in answers]}})
    return rows


def windows(tokenizer, row):
    return tokenizer(row["question"].lstrip(), row["context"], truncation="only_second", max_length=WINDOW["max_seq_length"],
                     stride=WINDOW["doc_stride"], return_overflowing_tokens=True, return_offsets_mapping=True, **tokenizer.types)


def inputs_of(encoded, i):
    return {name: torch.tensor([encoded[name][i]]) for name in NAMES if name in encoded}


def training_features(tokenizer, row):
    """prepare_train_features of run_qa, without padding."""
    encoded, out = windows(tokenizer, row), []
    for i, ids in enumerate(encoded["input_ids"]):
        cls = ids.index(tokenizer.cls_token_id) if tokenizer.cls_token_id in ids else 0
        offsets, sequences, answers = encoded["offset_mapping"][i], encoded.sequence_ids(i), row["answers"]
        start_position = end_position = cls
        if answers["text"]:
            start, end = answers["answer_start"][0], answers["answer_start"][0] + len(answers["text"][0])
            tokens = [t for t, s in enumerate(sequences) if s == 1]
            first, last = tokens[0], tokens[-1]
            if offsets[first][0] <= start and offsets[last][1] >= end:
                while first <= tokens[-1] and offsets[first][0] <= start:
                    first += 1
                while offsets[last][1] >= end:
                    last -= 1
                start_position, end_position = first - 1, last + 1
        out.append({**{name: encoded[name][i] for name in NAMES if name in encoded},
                    "start_positions": start_position, "end_positions": end_position})
    return out


def postprocess(model, tokenizer, row, version_2, threshold=0.0, n_best=20, longest=30):
    """postprocess_qa_predictions of utils_qa.py: (answer, n-best of texts and probabilities)."""
    encoded, candidates, none = windows(tokenizer, row), [], None
    for i in range(len(encoded["input_ids"])):
        with torch.no_grad():
            found = model(**inputs_of(encoded, i))
        starts, ends = found.start_logits[0].numpy(), found.end_logits[0].numpy()
        offsets = [o if s == 1 else None for o, s in zip(encoded["offset_mapping"][i], encoded.sequence_ids(i))]
        score = starts[0] + ends[0]
        if none is None or none["score"] > score:
            none = {"offsets": (0, 0), "score": score, "start": starts[0], "end": ends[0]}
        for start in np.argsort(starts)[-1:-n_best - 1:-1].tolist():
            for end in np.argsort(ends)[-1:-n_best - 1:-1].tolist():
                if offsets[start] is None or offsets[end] is None or end < start or end - start + 1 > longest:
                    continue
                candidates.append({"offsets": (offsets[start][0], offsets[end][1]), "score": starts[start] + ends[end],
                                   "start": starts[start], "end": ends[end]})
    if version_2:
        candidates.append(none)
    best = sorted(candidates, key=lambda c: c["score"], reverse=True)[:n_best]
    if version_2 and not any(c["offsets"] == (0, 0) for c in best):
        best.append(none)
    for c in best:
        c["text"] = row["context"][c["offsets"][0]:c["offsets"][1]]
    scores = np.array([c["score"] for c in best], dtype=np.float64)
    probabilities = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    listed = [(c["text"], float(p)) for c, p in zip(best, probabilities)]
    if not version_2:
        return listed[0][0], listed
    span = next(c for c in best if c["text"])
    difference = none["score"] - span["start"] - span["end"]
    return "" if difference > threshold else span["text"], listed


def official(rows, answers, version_2):
    exact = f1 = 0.0
    for row, answer in zip(rows, answers):
        scores = answer_scripts.score(answer, row["answers"]["text"], version_2=version_2)
        exact, f1 = exact + scores[0], f1 + scores[1]
    return {"exact" if version_2 else "exact_match": 100 * exact / len(rows), "f1": 100 * f1 / len(rows)}


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def compare_answers(counter, folder, model, tokenizer, rows, path, version_2, problems):
    options = {"model": folder, "bf16": "false", **WINDOW, "version_2_with_negative": str(version_2).lower()}
    lines = json_lines(graft("predict", {**options, "input": path, "top_k": 40}))
    for row, line in zip(rows, lines):
        answer, listed = postprocess(model, tokenizer, row, version_2)
        difference = max((abs(mine["score"] - p) for mine, (_, p) in zip(line["n_best"], listed)), default=1)
        counter.difference(difference)
        if line["answer"] != answer or len(listed) != len(line["n_best"]) or not difference <= TOLERANCE:
            problems.append(f"{row['id']}: {line['answer']!r}, reference {answer!r}; n-best differ by {difference:.2g}")
    metrics = json.loads(graft("evaluate", {**options, "test_file": path}, "--json"))
    for name, want in official(rows, [line["answer"] for line in lines], version_2).items():
        if abs(metrics[f"eval_{name}"] - want) > 1e-9:
            problems.append(f"{name}: {metrics[f'eval_{name}']}, official script {want}")
    counter.count("answers", len(lines))
    counter.count("metrics", 2)


def reference_losses(model, data, collator, work, batch):
    arguments = transformers.TrainingArguments(output_dir=str(work), use_cpu=True, report_to=[], disable_tqdm=True,
                                               optim="adamw_torch", dataloader_pin_memory=False,
                                               **{**ARGUMENTS, "per_device_train_batch_size": batch})
    trainer = InOrder(model=model, args=arguments, train_dataset=data, data_collator=collator)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return trainer.losses


def compare_losses(counter, folder, want, problems):
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    got = [entry["loss"] for entry in history if "loss" in entry]
    if not len(got) == len(want) == STEPS:
        problems.append(f"{len(got)} steps of graft, {len(want)} of the reference")
    for step, (a, b) in enumerate(zip(got, want)):
        counter.difference(abs(a - b) / abs(b))
        if not abs(a - b) <= LIMIT * abs(b):
            problems.append(f"step {step + 1}: loss {a:.8f}, reference {b:.8f}")
    counter.count("losses", len(got))


def load_trained(model_class, folder, problems):
    model, info = model_class.from_pretrained(folder, output_loading_info=True)
    problems += [f"loading what graft saved: {kind}: {sorted(map(str, found))[:4]}" for kind, found in info.items() if found]
    return model.eval()


def start_folder(family, head, work):
    tokenizer = families.make_tokenizer(family, work / "tokenizer")
    model = families.make_model(family, head, tokenizer)
    for name in vars(model.config):
        if "drop" in name or name.endswith("pdrop"):
            if isinstance(getattr(model.config, name), float):
                setattr(model.config, name, 0.0)
    # The AlbertTokenizer of 5.24 leaves the types of a pair out unless they are asked for; that of 4.57 and graft have them.
    tokenizer.types = {"return_token_type_ids": True} if getattr(model.config, "type_vocab_size", 0) == 2 else {}
    model.save_pretrained(work / "start")
    tokenizer.save_pretrained(work / "start")
    return type(model), type(model).from_pretrained(work / "start").eval(), tokenizer


def check_spans(counter, family, work):
    work.mkdir(parents=True)
    model_class, model, tokenizer = start_folder(family, "span", work)
    problems = []
    for version_2 in (False, True):
        rows = questions(30, 3, version_2)
        path = write_rows(work / f"rows{int(version_2)}.jsonl", rows)
        compare_answers(counter, work / "start", model, tokenizer, rows, path, version_2, problems)
    rows = questions(30, 5, True)
    graft("train", {"model": work / "start", "task": "question-answering", "train_file": write_rows(work / "train.jsonl", rows),
                    "output_dir": work / "trained", "bf16": "false", "train_sampling_strategy": "sequential", **WINDOW, **TRAINING,
                    "version_2_with_negative": "true"})
    data = [feature for row in rows for feature in training_features(tokenizer, row)]
    losses = reference_losses(model.train(), data, transformers.default_data_collator, work / "reference", 1)
    compare_losses(counter, work / "trained", losses, problems)
    trained = load_trained(model_class, work / "trained", problems)
    compare_answers(counter, work / "trained", trained, tokenizer, rows, work / "train.jsonl", True, problems)
    return problems


def choice_rows(n, seed):
    draw = random.Random(seed)
    line = lambda k: " ".join(draw.choice(families.WORDS) for _ in range(k))
    return [{"sent1": line(6), "sent2": line(2), **{f"ending{k}": line(draw.randint(1, 8)) for k in range(4)},
             "label": draw.randrange(4)} for _ in range(n)]


def choices_of(tokenizer, row):
    endings = [f"{row['sent2']} {row[f'ending{k}']}" for k in range(4)]
    return tokenizer([row["sent1"]] * 4, endings, truncation=True, padding=True, max_length=64, return_tensors="pt", **tokenizer.types)


def compare_choices(counter, folder, model, tokenizer, rows, path, problems):
    lines = json_lines(graft("predict", {"model": folder, "input": path, "bf16": "false"}))
    for i, (row, line) in enumerate(zip(rows, lines)):
        with torch.no_grad():
            want = model(**{k: v[None] for k, v in choices_of(tokenizer, row).items()}).logits[0].softmax(-1).tolist()
        difference = max(abs(a - b) for a, b in zip(line["scores"], want))
        counter.difference(difference)
        if line["choice"] != int(np.argmax(want)) or not difference <= TOLERANCE:
            problems.append(f"row {i}: choice {line['choice']}, reference {int(np.argmax(want))}; scores differ by {difference:.2g}")
    right = sum(line["choice"] == row["label"] for row, line in zip(rows, lines)) / len(rows)
    metrics = json.loads(graft("evaluate", {"model": folder, "test_file": path, "bf16": "false"}, "--json"))
    if abs(metrics["eval_accuracy"] - right) > 1e-12:
        problems.append(f"accuracy {metrics['eval_accuracy']}, of the answers {right}")
    counter.count("choices", len(lines))


def check_choices(counter, family, work):
    work.mkdir(parents=True)
    model_class, model, tokenizer = start_folder(family, "choice", work)
    problems, rows = [], choice_rows(40, 9)
    path = write_rows(work / "rows.jsonl", rows)
    compare_choices(counter, work / "start", model, tokenizer, rows, path, problems)
    graft("train", {"model": work / "start", "task": "multiple-choice", "train_file": path, "output_dir": work / "trained",
                    "bf16": "false", "train_sampling_strategy": "sequential", **ARGUMENTS})
    def collator(batch):
        encoded = tokenizer.pad({key: [row for example in batch for row in example[key]] for key in batch[0] if key != "labels"},
                                return_tensors="pt")
        return {**{k: v.view(len(batch), 4, -1) for k, v in encoded.items()}, "labels": torch.tensor([e["labels"] for e in batch])}
    data = []
    for row in rows:
        encoded = tokenizer([row["sent1"]] * 4, [f"{row['sent2']} {row[f'ending{k}']}" for k in range(4)], truncation=True, max_length=64,
                            **tokenizer.types)
        data.append({**{name: encoded[name] for name in NAMES if name in encoded}, "labels": row["label"]})
    losses = reference_losses(model.train(), data, collator, work / "reference", ARGUMENTS["per_device_train_batch_size"])
    compare_losses(counter, work / "trained", losses, problems)
    trained = load_trained(model_class, work / "trained", problems)
    compare_choices(counter, work / "trained", trained, tokenizer, rows, path, problems)
    return problems


def main(work, names):
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    counter = Counter(f"questions and choices against transformers {transformers.__version__}")
    for kind, check, having in (("spans", check_spans, SPAN_FAMILIES), ("choices", check_choices, CHOICE_FAMILIES)):
        for family in [name for name in having if not names or name in names]:
            try:
                problems = check(counter, family, work / f"{family}-{kind}")
            except GraftError as error:
                problems = [str(error)]
            counter.case(f"{family} {kind}", problems)
    counter.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
