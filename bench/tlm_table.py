#!/usr/bin/env python3
"""Does translation language modelling help across languages? One model as it is, adapted to the sentences of pairs each for itself (masked
language modelling), and adapted to the same sentences with half of the tokens in pairs (translation language modelling), by equal steps.

    bench/tlm_table.py [--graft build/graft] [--model models/graft-mini] [--seeds 1,2,3,4,5] [--pairs N] [--max_steps N] [--num_threads N] [--work DIR] [OPTIONS OF graft xling]

Pairs: English with German, Spanish, French and Chinese, from ../shared (or GRAFT_SHARED). Scores: topics of SIB-200, trained on English alone, as
bench/xling_table.py has them. Prints each command and the line of each model. The standard library only.
"""
import argparse
import lzma
import sys
import tempfile
from pathlib import Path

from rows import HERE, SHARED, run

LANGUAGES = ["de", "es", "fr", "zh"]
SOURCES = ["african_storybook", "opensource_guide", "mozilla_web", "bible"]  # the last one fills up


def pairs_of(language, count):
    """Different pairs of sentences with two words or more on the English side."""
    found = {}
    for source in SOURCES:
        with lzma.open(SHARED / f"parallel/en-{language}/{source}.tsv.xz", "rt", encoding="utf-8", newline="\n") as lines:
            for line in lines:
                english, other = line.rstrip("\r\n").split("\t")[:2]
                if len(english.split()) > 1 and other.strip() and len(found) < count:
                    found.setdefault(english.strip(), other.strip())
    return list(found.items())


def write_texts(work, count):
    """A file of sentences for each language, and of pairs."""
    english = {}
    for language in LANGUAGES:
        rows = pairs_of(language, count)
        english.update((source, None) for source, _ in rows)
        (work / f"{language}.txt").write_text("\n".join(target for _, target in rows) + "\n", encoding="utf-8")
        (work / f"en-{language}.tsv").write_text("\n".join(f"{source}\t{target}" for source, target in rows) + "\n", encoding="utf-8")
    (work / "en.txt").write_text("\n".join(english) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--graft", default=str(HERE / "build" / "graft"))
    parser.add_argument("--model", default=str(HERE / "models" / "graft-mini"))
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--pairs", type=int, default=10000)
    parser.add_argument("--max_steps", type=int, default=600)
    parser.add_argument("--num_threads", default="2")
    parser.add_argument("--work")
    args, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(args.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        write_texts(work, args.pairs)
        models = {"as it is": args.model}
        for name, options in [("MLM", []), ("TLM", ["--parallel", *(work / f"en-{code}.tsv" for code in LANGUAGES), "--tlm_share", "0.5"])]:
            models[name] = work / name.lower()
            corpus = ",".join(f"{code}={work / code}.txt" for code in ["en", *LANGUAGES])
            print(run(name, [args.graft, "adapt", "--model", args.model, "--corpus", corpus, *options, "--max_steps", args.max_steps,
                       "--per_device_train_batch_size", "32", "--max_seq_length", "128", "--save_strategy", "no", "--disable_tqdm", "true",
                       "--output_dir", models[name], "--num_threads", args.num_threads]))
        for name, model in models.items():
            table = run(name, [sys.executable, Path(__file__).parent / "xling_table.py", "--graft", args.graft, "--model", model, "--seeds", args.seeds,
                         "--work", work / f"xling-{Path(model).name}", "sib200", "--num_threads", args.num_threads, *more])
            print(f"{name}: {table.rstrip().splitlines()[-1]}", flush=True)


main()
