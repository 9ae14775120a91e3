#!/usr/bin/env python3
"""Sentences a second of `graft embed` beside sentence-transformers, in fp32 and bf16, on the same file of mixed lengths.

    bench/peer_embed.py --model DIR [--sentences N] [--rounds N] [--graft PROGRAM]

Run it with a Python that has sentence-transformers (that of .interop/sentence-transformers). Each side takes the same texts, warm, in turns; the
medians of the rounds are shown. graft's time is that of the whole program less that of a run on one text: loading is not counted on either side.
"""
import argparse
import pathlib
import random
import statistics
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


def make_texts(count, vocabulary):
    """Lengths from 4 to 200 words, most of them short, as in a mix of queries and passages."""
    draw = random.Random(1)
    words = [w for w in vocabulary if w.isalpha()]
    return [" ".join(draw.choice(words) for _ in range(min(200, max(4, int(draw.lognormvariate(2.9, 0.9)))))) for _ in range(count)]


def seconds_of(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--graft", default=str(HERE.parent / "build" / "graft"))
    options = parser.parse_args()
    import torch
    from sentence_transformers import SentenceTransformer

    texts = make_texts(options.sentences, (pathlib.Path(options.model) / "vocab.txt").read_text().split("\n"))
    work = pathlib.Path(tempfile.mkdtemp())
    (work / "all.txt").write_text("\n".join(texts) + "\n")
    (work / "one.txt").write_text(texts[0] + "\n")

    def graft(name, bf16):
        subprocess.run([options.graft, "embed", "--model", options.model, "--input", work / name, "--output", work / "out.npy",
                        "--bf16", bf16], check=True, stderr=subprocess.DEVNULL)

    def graft_seconds(bf16):
        return seconds_of(lambda: graft("all.txt", bf16)) - seconds_of(lambda: graft("one.txt", bf16))

    models = {"sentence-transformers fp32": SentenceTransformer(options.model, device="cpu"),
              "sentence-transformers bf16": SentenceTransformer(options.model, device="cpu", model_kwargs={"dtype": torch.bfloat16})}
    calls = {name: (lambda m=model: seconds_of(lambda: m.encode(texts, batch_size=32))) for name, model in models.items()}
    calls["graft fp32"] = lambda: graft_seconds("false")
    calls["graft bf16"] = lambda: graft_seconds("true")
    for model in models.values():
        model.encode(texts[:64])
    times = {name: [] for name in calls}
    for _ in range(options.rounds):
        for name, call in calls.items():
            times[name].append(call())
    print(f"{len(texts)} texts, {torch.get_num_threads()} threads (PyTorch)")
    for name, values in times.items():
        print(f"{name:28} {len(texts) / statistics.median(values):8.1f} sentences/s")


main()
