#!/usr/bin/env python3
"""Does continued pretraining help? One row for each domain and task, with an unrelated corpus of equal size as control.

    bench/adapt_tables.py [--graft build/graft] [--model DIR] [--seeds 1,2,3,4,5] [--corpus_bytes N] [--work DIR] [ROW...] [OPTIONS OF graft adapt]

Rows: sst2-200 sst2-2000 ncbi-disease chemprot scicite; default: all. Needs ../shared (or GRAFT_SHARED) and the real checkpoint
(scripts/get-model.sh). Each row is one `graft adapt --stages dapt,task`, whose command is printed. With --work the stages are kept: a second run
takes them from the cache. Prints the tables of graft and one line of markdown a row. The standard library only.
"""
import lzma

from rows import SHARED, run_graft, table

CORPORA = SHARED / "corpora" / "en"

# SciCite's sentences are of computer science and medicine. The English text nearest to the first is that of software documentation.
COMPUTING = ["python_docs", "tensorflow_docs", "comprehensive_rust", "opensource_guide"]

ROWS = {
    "sst2-200": dict(corpus="imdb_reviews", control="openstax_books", task="sequence-classification", files=("sst2/train.tsv", "sst2/dev.tsv"),
                     labels=200, arguments="learning_rate=1e-4,num_train_epochs=10,per_device_train_batch_size=16"),
    "sst2-2000": dict(corpus="imdb_reviews", control="openstax_books", task="sequence-classification", files=("sst2/train.tsv", "sst2/dev.tsv"),
                      labels=2000, arguments="learning_rate=1e-4,num_train_epochs=3,per_device_train_batch_size=32"),
    "ncbi-disease": dict(corpus="biomed_mtl", control="imdb_reviews", task="token-classification",
                         files=("ncbi_disease/train.conll", "ncbi_disease/test.conll"), labels=1000,
                         arguments="learning_rate=3e-4,num_train_epochs=5,per_device_train_batch_size=16"),
    "chemprot": dict(corpus="biomed_mtl", control="imdb_reviews", task="sequence-classification",
                     files=("chemprot/train.jsonl", "chemprot/test.jsonl"), labels=1000,
                     arguments="learning_rate=1e-4,num_train_epochs=5,per_device_train_batch_size=16"),
    "scicite": dict(corpus="computing", control="imdb_reviews", task="sequence-classification",
                    files=("scicite/train.jsonl", "scicite/test.jsonl"), labels=1000,
                    arguments="learning_rate=1e-4,num_train_epochs=3,per_device_train_batch_size=32"),
}


def computing_text(work):
    """The English sides of software documentation, each sentence once."""
    out, seen = work / "computing.txt", set()
    with open(out, "w", encoding="utf-8") as to:
        for source in COMPUTING:
            for file in sorted(SHARED.glob(f"parallel/en-*/{source}.tsv.xz")):
                with lzma.open(file, "rt", encoding="utf-8", newline="\n") as lines:
                    for line in lines:
                        english = line.split("\t")[0].strip()
                        if len(english.split()) >= 5 and english not in seen:
                            seen.add(english)
                            to.write(english + "\n")
    return out


def corpus(name, work):
    return computing_text(work) if name == "computing" else CORPORA / f"{name}.txt.xz"


def run(name, row, args, work):
    train, test = (SHARED / "sets" / file for file in row["files"])
    command = [args.graft, "adapt", "--model", args.model, "--stages", "dapt,task", "--corpus", corpus(row["corpus"], work),
               "--control", corpus(row["control"], work), "--max_corpus_bytes", args.corpus_bytes, "--task", row["task"],
               "--train_file", train, "--test_file", test, "--max_train_samples", row["labels"], "--task_arguments", row["arguments"],
               "--seeds", args.seeds, "--remove_overlap", "true", "--disable_tqdm", "true", "--output_dir", work / name, *args.more]
    return run_graft(name, command, work / name / "adapt_results.json")


def markdown(name, results):
    arms = {arm["arm"]: arm for arm in results["arms"]}
    cells = [name, results["metric"]]
    for arm in ("base", "dapt", "control"):
        one = arms[arm]
        p = "" if arm == "base" else f" (p {one['p']:.3f})" if one["p"] is not None else ""
        cells.append(f"{one['mean']:.4f} ± {one['sd'] or 0:.4f}{p}")
    stage = next(s for s in results["stages"] if s["stage"] == "dapt")
    cells.append(f"{stage['before']['held_out']:.1f} -> {stage['after']['held_out']:.1f}")
    return "| " + " | ".join(cells) + " |"


table(__doc__, ROWS, run, markdown, ["row", "metric", "base", "DAPT", "control", "perplexity of the domain"],
      options=[("--corpus_bytes", dict(default="4000000"))])
