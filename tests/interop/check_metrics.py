"""The metrics of graft evaluate --json against scikit-learn and scipy, on the predictions of graft predict, degenerate cases included.

    <environment>/bin/python3 check_metrics.py WORK
"""
import json
import math
import random
import sys
import warnings
from pathlib import Path

import torch
import transformers
from scipy import stats
from sklearn import metrics

import families
from common import Counter, GraftError, graft, json_lines

FP32 = {"bf16": "false"}
LIMIT = 1e-9
# head, labels of the model, what the head answers ("": as the weights say; a list: the same to every text), labels of the data
CASES = {
    "two labels": ("single", ["no", "yes"], "", "any"),
    "two labels, all predictions equal": ("single", ["no", "yes"], [1.0, 0.0], "any"),
    "two labels, all labels equal": ("single", ["no", "yes"], "", "first"),
    "two labels, everything equal": ("single", ["no", "yes"], [0.0, 1.0], "last"),
    "two labels, every answer wrong": ("single", ["no", "yes"], [0.0, 1.0], "first"),
    "five labels": ("single", ["a", "b", "c", "d", "e"], "", "any"),
    "five labels, one never labelled": ("single", ["a", "b", "c", "d", "e"], "", "not first"),
    "five labels, all predictions equal": ("single", ["a", "b", "c", "d", "e"], [0.0, 0.0, 2.0, 0.0, 0.0], "any"),
    "five labels, all labels equal": ("single", ["a", "b", "c", "d", "e"], "", "last"),
    "several labels": ("multi", ["a", "b", "c"], "", "any"),
    "several labels, nothing predicted": ("multi", ["a", "b", "c"], [-3.0, -3.0, -3.0], "any"),
    "several labels, everything predicted": ("multi", ["a", "b", "c"], [3.0, 3.0, 3.0], "any"),
    "several labels, one never labelled": ("multi", ["a", "b", "c"], "", "not first"),
    "numbers": ("regression", ["LABEL_0"], "", "any"),
    "numbers with ties": ("regression", ["LABEL_0"], "", "few"),
    "numbers, all predictions equal": ("regression", ["LABEL_0"], [0.25], "any"),
    "numbers, all labels equal": ("regression", ["LABEL_0"], "", "first"),
}


def label_for(head, labels, kind, draw):
    if head == "regression":
        return {"any": draw.uniform(-2, 2), "few": float(draw.randint(0, 3)), "first": 1.5}[kind]
    allowed = {"any": labels, "first": labels[:1], "last": labels[-1:], "not first": labels[1:]}[kind]
    if head == "single":
        return draw.choice(allowed)
    return [label for label in allowed if draw.random() < 0.5] or allowed[:1]


def model_folder(folder, head, labels, answers):
    tokenizer = families.make_tokenizer("bert", folder / "tokenizer")
    model = families.make_model("bert", head, tokenizer)
    config = model.config
    if head != "regression":
        config.id2label, config.label2id = dict(enumerate(labels)), {label: i for i, label in enumerate(labels)}
        torch.manual_seed(5)
        model.classifier = torch.nn.Linear(config.hidden_size, len(labels))
        torch.nn.init.normal_(model.classifier.weight, std=0.5)
    if answers:
        torch.nn.init.zeros_(model.classifier.weight)
        model.classifier.bias.data = torch.tensor(answers)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def undefined_or(value):
    return None if math.isnan(value) else value


def expected_single(gold, predicted, labels):
    out = {"accuracy": metrics.accuracy_score(gold, predicted), "f1_macro": metrics.f1_score(gold, predicted, average="macro"),
           "f1_micro": metrics.f1_score(gold, predicted, average="micro"),
           "matthews_correlation": metrics.matthews_corrcoef(gold, predicted)}
    if len(labels) == 2:
        out["f1"] = metrics.f1_score(gold, predicted, pos_label=labels[1], zero_division=0)
    return out


def expected_multi(gold, predicted, labels):
    rows = [[[label in row for label in labels] for row in side] for side in (gold, predicted)]
    return {"accuracy": metrics.accuracy_score(*rows), "f1_micro": metrics.f1_score(*rows, average="micro", zero_division=0),
            "f1_macro": metrics.f1_score(*rows, average="macro", zero_division=0)}


def expected_numbers(gold, predicted):
    return {"mse": metrics.mean_squared_error(gold, predicted), "pearson": undefined_or(stats.pearsonr(gold, predicted).statistic),
            "spearmanr": undefined_or(stats.spearmanr(gold, predicted).statistic)}


def check(counter, name, folder):
    head, labels, answers, kind = CASES[name]
    model_folder(folder, head, labels, answers)
    draw = random.Random(name)
    rows = [{"text": text, "label": label_for(head, labels, kind, draw)} for text in families.sentences(150, 21)]
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    answers = json_lines(graft("predict", {"model": folder, "input": file, **FP32}, "--return_all_scores"))
    got = json.loads(graft("evaluate", {"model": folder, "test_file": file, **FP32}, "--json"))
    gold = [row["label"] for row in rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if head == "single":
            want = expected_single(gold, [answer["label"] for answer in answers], labels)
        elif head == "multi":
            want = expected_multi(gold, [[label for label in labels if answer["scores"][label] > 0.5] for answer in answers], labels)
        else:
            want = expected_numbers(gold, [answer["score"] for answer in answers])
    problems = []
    for metric, value in want.items():
        ours = got.get(f"eval_{metric}", "not there")
        counter.count("values")
        if value is None or not isinstance(ours, (int, float)):
            if value is not ours:
                problems.append(f"{metric}: graft {ours}, reference {'undefined' if value is None else value}")
        elif not abs(ours - value) <= LIMIT * (1 + 1e4 * (head == "regression")):  # labels are fp32 in graft
            problems.append(f"{metric}: graft {ours}, reference {value}")
        else:
            counter.difference(abs(ours - value))
    return problems


def main(work):
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    counter = Counter("metrics against scikit-learn and scipy")
    for name in CASES:
        folder = work / name.replace(" ", "-").replace(",", "")
        folder.mkdir(parents=True)
        try:
            problems = check(counter, name, folder)
        except GraftError as error:
            problems = [str(error)]
        counter.case(name, problems)
    counter.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
