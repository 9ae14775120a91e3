"""graft's predict and evaluate on the folders of make_folders.py against the reference's answers; then trains each for three steps.

    check_reading.py FOLDERS TRAINED        (the standard library only)

TRAINED gets the trained folders and NAME.graft.json with graft's own answers, for check_loading.py.
"""
import csv
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import TOLERANCE, Counter, GraftError, graft, json_lines, relative, worst_difference

FP32 = {"bf16": "false"}
TASKS = {"mlm": "masked-lm", "clm": "causal-lm", "s2s": "seq2seq-lm"}  # of a head up to its "-"; else sequence-classification
TRAINING = {"max_steps": 3, "learning_rate": 1e-3, "save_strategy": "no", **FP32}


def probabilities(model, expected, texts_file, *options):
    """What graft predict answers, in the order of the reference's labels (masked-lm: of the vocabulary; causal-lm: the loss;
    seq2seq-lm: what graft evaluate finds as the loss of each text written again)."""
    if expected["head"].startswith("s2s"):
        pair = texts_file.with_name(f"{model.name}.pair.jsonl")
        out = []
        for text in expected["texts"]:
            pair.write_text(json.dumps({"source": text, "target": text}) + "\n", encoding="utf-8")
            out.append([json.loads(graft("evaluate", {"model": model, "test_file": pair, **FP32}, "--json"))["eval_loss"]])
        return out
    if expected["head"].startswith("clm"):
        return [[line["loss"]] for line in json_lines(graft("predict", {"model": model, "input": texts_file, **FP32}))]
    if expected["head"].startswith("mlm"):
        options += ({"top_k": len(expected["vocabulary"])},)
        lines = json_lines(graft("predict", {"model": model, "input": texts_file, **FP32}, *options))
        out = []
        for fills in lines:
            scores = {fill["token"]: fill["score"] for fill in fills}
            out.append([scores.get(token, -1.0) for token in expected["vocabulary"]])
        return out
    lines = json_lines(graft("predict", {"model": model, "input": texts_file, **FP32}, *options,
                             "--return_all_scores"))
    if expected["head"] == "regression":
        return [[line["score"]] for line in lines]
    return [[line["scores"][label] for label in expected["labels"]] for line in lines]


def write_table(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows(rows)


def write_rows(folder, expected):
    """The labelled rows as a file that graft reads."""
    rows = expected["rows"]
    if expected["head"].startswith(("mlm", "clm")):
        path = folder / "rows.txt"
        path.write_text("".join(f"{row['text']}\n" for row in rows), encoding="utf-8")
        return path
    if expected["head"].startswith("s2s"):
        rows = [{"source": row["text"], "target": row["text"]} for row in rows]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def generation_problems(counter, expected, folder, prompts):
    """Continuations equal to the character, scores of beams within the tolerance."""
    problems = []
    for name, want in expected.get("generation", {}).items():
        lines = json_lines(graft("generate", {"model": folder, "input": prompts, **want["settings"], **FP32}))
        if [line["generated_text"] for line in lines] != [text for text, _ in want["texts"]]:
            problems.append(f"{name}: other continuations")
        scores = [[line.get("score", 0.0) for line in lines], [score or 0.0 for _, score in want["texts"]]]
        difference = worst_difference(*scores)
        counter.difference(difference)
        if not difference <= TOLERANCE:
            problems.append(f"{name}: scores differ by {difference:.3g}")
        counter.count("continuations", len(lines))
    return problems


def compare_answers(counter, expected, folder, texts, pairs, rows):
    problems = []

    def compare(what, got, want, tolerance=TOLERANCE, distance=worst_difference):
        difference = distance(got, want)
        counter.difference(difference)
        if not difference <= tolerance:
            problems.append(f"{what} differ by {difference:.3g}")

    compare("probabilities", probabilities(folder, expected, texts), expected["probabilities"])
    counter.count("answers", len(expected["texts"]))
    if "pairs" in expected:
        got = probabilities(folder, expected, pairs, {"text_column": "first", "text_pair_column": "second"})
        compare("probabilities of pairs", got, expected["pair_probabilities"])
        counter.count("answers to pairs", len(got))
        metrics = json.loads(graft("evaluate", {"model": folder, "test_file": rows, **FP32}, "--json"))
        compare("evaluation losses", metrics["eval_loss"], expected["loss"], distance=relative)
        counter.count("evaluations")
    return problems


def check(counter, source, trained):
    """One folder: reading, then training. Returns the problems of both."""
    expected = json.loads(source.with_name(f"{source.name}.expected.json").read_text())
    work = trained.parent / f"{trained.name}.data"
    work.mkdir(parents=True)
    texts, pairs = work / "texts.txt", work / "pairs.csv"
    texts.write_text("".join(f"{text}\n" for text in expected["texts"]), encoding="utf-8")
    if "pairs" in expected:
        write_table(pairs, [("first", "second"), *zip(expected["texts"], expected["pairs"])])
    prompts = work / "prompts.txt"
    prompts.write_text("".join(f"{prompt}\n" for prompt in expected.get("prompts", [])), encoding="utf-8")
    rows = write_rows(work, expected)
    try:
        problems = compare_answers(counter, expected, source, texts, pairs, rows) if "probabilities" in expected else []
        problems += generation_problems(counter, expected, source, prompts)
        task = TASKS.get(expected["head"].split("-")[0], "sequence-classification")
        graft("train", {"model": source, "task": task, "train_file": rows, "output_dir": trained, **TRAINING})
        counter.count("trained folders")
        answers = {"probabilities": probabilities(trained, expected, texts), "source": str(source.resolve()),
                   "ids": [line["input_ids"] for line in json_lines(graft("tokenize", {"model": trained, "input": texts}))]}
        trained.with_name(f"{trained.name}.graft.json").write_text(json.dumps({**expected, **answers}))
    except (GraftError, KeyError, json.JSONDecodeError) as error:
        return [f"{type(error).__name__}: {error}"]
    return problems


def main(folders, trained):
    counter = Counter("graft reads the reference's folders")
    sources = sorted(path.with_name(path.name.removesuffix(".expected.json")) for path in folders.rglob("*.expected.json"))
    with ThreadPoolExecutor(2) as pool:
        names = [source.relative_to(folders) for source in sources]
        for name, problems in zip(names, pool.map(lambda name: check(counter, folders / name, trained / name), names)):
            counter.case(str(name), problems)
    counter.count("folders", len(sources))
    counter.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
