#!/usr/bin/env python3
"""Sentences a second of `graft embed` beside sentence-transformers, in fp32 and bf16, and onnxruntime, on the same file of mixed lengths.

    bench/peer_embed.py --model DIR [--sentences N] [--rounds N] [--graft PROGRAM]

Run it with a Python that has sentence-transformers (that of .interop/sentence-transformers); onnxruntime is measured where it is installed, with
the packages onnx and onnxscript, on the encoder that torch.onnx exports, with the batches of sentence-transformers. Each side takes the same texts, warm, in turns; the
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


def onnx_encoder(model, folder):
    """A function that embeds texts with onnxruntime in batches of 32 of about the same length, as encode does; None without it."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError:
        return None
    import numpy
    import torch
    from transformers import AutoModel, AutoTokenizer

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = AutoModel.from_pretrained(model, attn_implementation="eager").eval()

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state

    tokenizer = AutoTokenizer.from_pretrained(model)
    ids = torch.randint(5, 1000, (2, 16))
    dynamic = {0: "batch", 1: "sequence"}
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(Encoder(), (ids, torch.ones_like(ids), torch.zeros_like(ids)), folder / "model.onnx", input_names=names,
                      output_names=["hidden"], dynamic_axes={n: dynamic for n in [*names, "hidden"]}, opset_version=17, dynamo=False)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])

    def encode(texts):
        rows = [None] * len(texts)
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for begin in range(0, len(texts), 32):
            batch = order[begin:begin + 32]
            inputs = tokenizer([texts[i] for i in batch], padding=True, truncation=True, max_length=256, return_tensors="np")
            hidden = session.run(["hidden"], {n: inputs[n].astype(numpy.int64) for n in names})[0]
            mask = inputs["attention_mask"][:, :, None]
            means = (hidden * mask).sum(1) / mask.sum(1)
            for i, mean in zip(batch, means):
                rows[i] = mean / numpy.linalg.norm(mean)
        return numpy.stack(rows)

    return encode


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
    if encode := onnx_encoder(options.model, work):
        same = abs(encode(texts[:64]) - models["sentence-transformers fp32"].encode(texts[:64])).max()
        assert same < 1e-4, f"onnxruntime's embeddings differ by {same}"
        calls["onnxruntime fp32"] = lambda: seconds_of(lambda: encode(texts))
    times = {name: [] for name in calls}
    for _ in range(options.rounds):
        for name, call in calls.items():
            times[name].append(call())
    print(f"{len(texts)} texts, {torch.get_num_threads()} threads (PyTorch)")
    for name, values in times.items():
        print(f"{name:28} {len(texts) / statistics.median(values):8.1f} sentences/s")


main()
