#!/usr/bin/env python3
"""The training step of bench/step_bench (BERT-base, SST-2 lengths, batch 32, dropout, clipping, AdamW) in PyTorch,
in the ways in which it is run in practice, beside graft's own number from the same call.

    bench/peer_torch.py [--steps N] [--graft PROGRAM] [--lengths FILE] [--json]

The model is a plain BERT on torch's public API (Debian: apt-get install python3-torch libopenblas0-openmp; without
OpenBLAS Debian's PyTorch multiplies by plain loops, and the comparison would flatter). Tokens a second count real
tokens: padding is work, not output. Medians over the steps; the modes take the same batches where their order allows.
"""
import argparse
import json
import os
import pathlib
import random
import resource
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
BATCH, HIDDEN, LAYERS, HEADS, WIDE, VOCABULARY, POSITIONS = 32, 768, 12, 12, 3072, 30522, 512


def build_model(torch):
    nn = torch.nn

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.query, self.key, self.value, self.output = (nn.Linear(HIDDEN, HIDDEN) for _ in range(4))
            self.wide, self.narrow = nn.Linear(HIDDEN, WIDE), nn.Linear(WIDE, HIDDEN)
            self.norm1, self.norm2 = nn.LayerNorm(HIDDEN, eps=1e-12), nn.LayerNorm(HIDDEN, eps=1e-12)
            self.drop = nn.Dropout(0.1)

        def forward(self, x, mask):
            batch, length, _ = x.shape
            q, k, v = (f(x).view(batch, length, HEADS, HIDDEN // HEADS).transpose(1, 2)
                       for f in (self.query, self.key, self.value))
            scores = q @ k.transpose(-1, -2) / (HIDDEN // HEADS) ** 0.5 + mask
            context = self.drop(torch.softmax(scores, dim=-1)) @ v
            context = context.transpose(1, 2).reshape(batch, length, HIDDEN)
            x = self.norm1(x + self.drop(self.output(context)))
            return self.norm2(x + self.drop(self.narrow(torch.nn.functional.gelu(self.wide(x)))))

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(VOCABULARY, HIDDEN, padding_idx=0)
            self.positions, self.types = nn.Embedding(POSITIONS, HIDDEN), nn.Embedding(2, HIDDEN)
            self.norm, self.drop = nn.LayerNorm(HIDDEN, eps=1e-12), nn.Dropout(0.1)
            self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
            self.pooler, self.out = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 2)

        def forward(self, ids, attention_mask):
            places = torch.arange(ids.shape[1])
            x = self.words(ids) + self.positions(places) + self.types(torch.zeros_like(ids))
            x = self.drop(self.norm(x))
            mask = (1.0 - attention_mask[:, None, None, :].float()) * -1e4
            for layer in self.layers:
                x = layer(x, mask)
            return self.out(self.drop(torch.tanh(self.pooler(x[:, 0]))))

    return Classifier()


def grouped(lengths):
    """Batches as the reference's LengthGroupedSampler makes them: shuffled, sorted inside 50 batches."""
    order = list(range(len(lengths)))
    random.Random(1).shuffle(order)
    mega = 50 * BATCH
    batches = []
    for i in range(0, len(order) - mega + 1, mega):
        part = sorted(order[i:i + mega], key=lambda j: -lengths[j])
        batches += [part[j:j + BATCH] for j in range(0, mega, BATCH)]
    random.Random(2).shuffle(batches)
    return batches


def run_mode(torch, batches, lengths, width, bf16, steps):
    """Seconds and real tokens of each step, after one to warm up."""
    torch.manual_seed(0)
    model = build_model(torch).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    measured = []
    for i, batch in enumerate(batches[:steps + 1]):
        start = time.perf_counter()
        wanted = [lengths[j] for j in batch]
        columns = width or max(wanted)
        ids = torch.zeros(BATCH, columns, dtype=torch.long)
        mask = torch.zeros(BATCH, columns, dtype=torch.long)
        for row, n in enumerate(wanted):
            ids[row, :n] = torch.randint(1, VOCABULARY, (n,))
            mask[row, :n] = 1
        labels = torch.arange(BATCH) % 2
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = torch.nn.functional.cross_entropy(model(ids, mask).float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if i > 0:
            measured.append((time.perf_counter() - start, sum(wanted)))
    return measured


def product_rate(torch, threads):
    """GFLOP/s of PyTorch's own fp32 product, 1024^3."""
    torch.set_num_threads(threads)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    times = []
    for _ in range(6):
        start = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - start)
    return 2 * 1024**3 / statistics.median(times[1:]) / 1e9


def run_graft(program, precision, steps):
    """Tokens a second and peak RSS in GB of graft's step."""
    lines = subprocess.run([program, "bert_base_sst2", "--" + precision, "--steps", str(max(steps, 5)), "--json"],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    values = {d["name"]: d["value"] for d in map(json.loads, lines)}
    find = lambda suffix: next(v for k, v in values.items() if k.endswith(suffix))
    return find("_tokens"), find("_peak_rss")


def child(arguments, lengths):
    """One mode in a process of its own, so that its peak RSS is its own."""
    import torch
    torch.set_num_threads(arguments.threads)
    plain = [list(range(i, i + BATCH)) for i in range(0, len(lengths) - BATCH, BATCH)]
    batches = grouped(lengths) if arguments.mode.startswith("grouped") else plain
    width = 128 if arguments.mode.startswith("padded") else 0
    measured = run_mode(torch, batches, lengths, width, arguments.mode.endswith("bf16"), arguments.steps)
    print(json.dumps({"tokens": statistics.median(n / s for s, n in measured),
                      "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", 0)) or os.cpu_count())
    parser.add_argument("--graft", default=str(HERE.parent / "build" / "bench" / "step_bench"))
    parser.add_argument("--lengths", default=str(HERE.parent.parent / "shared" / "data" / "lengths" / "sst2.json"))
    parser.add_argument("--modes", nargs="*", help="only these")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--mode", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        import torch
    except ImportError:
        print("peer_torch: skipped, PyTorch is not installed for this Python (Debian: apt-get install python3-torch, "
              "then /usr/bin/python3 bench/peer_torch.py)", file=sys.stderr)
        return 0
    if not os.path.exists(arguments.lengths):
        print(f"peer_torch: skipped, {arguments.lengths} is not there (--lengths FILE)", file=sys.stderr)
        return 0
    lengths = json.load(open(arguments.lengths))
    if arguments.mode:
        child(arguments, lengths)
        return 0
    rate = product_rate(torch, arguments.threads)
    print(f"peer_torch: PyTorch multiplies fp32 matrices at {rate:.0f} GFLOP/s", file=sys.stderr)
    if rate < 10:
        print("peer_torch: skipped, that is the reference BLAS: a comparison would flatter "
              "(Debian: apt-get install libopenblas0-openmp)", file=sys.stderr)
        return 0
    has_bf16 = "avx512_bf16" in open("/proc/cpuinfo").read()
    modes = ["padded to 128, fp32", "dynamic padding, fp32", "grouped, fp32"]
    modes += ["dynamic padding, bf16", "grouped, bf16"] if has_bf16 else []
    rows = []
    for mode in arguments.modes or modes:
        out = subprocess.run([sys.executable, __file__, "--mode", mode, "--steps", str(arguments.steps), "--threads",
                              str(arguments.threads), "--lengths", arguments.lengths],
                             check=True, capture_output=True, text=True).stdout
        d = json.loads(out.splitlines()[-1])
        rows.append((f"PyTorch {torch.__version__}, {mode}", d["tokens"], d["rss"]))
        print(f"peer_torch: {mode}: {d['tokens']:.1f} real tokens/s", file=sys.stderr)
    ours = []
    for precision in ["fp32"] + (["bf16"] if has_bf16 else []):
        if os.path.exists(arguments.graft):
            ours.append((f"graft, {precision}", *run_graft(arguments.graft, precision, arguments.steps)))
    if not ours:
        print(f"peer_torch: {arguments.graft} is not built (bench/run.sh step builds it); PyTorch alone",
              file=sys.stderr)
    slowest = next((r[1] for r in rows if "padded to 128" in r[0]), None)
    tuned = max((r[1] for r in rows if "padded to 128" not in r[0]), default=None)
    if arguments.json:
        for name, tokens, rss in rows + ours:
            print(json.dumps({"name": name, "value": round(tokens, 2), "unit": "tokens/s", "limit": 0, "ratio": 0}))
        best = max((r[1] for r in ours), default=0)
        for name, limit in (("peer_torch_padded", slowest), ("peer_torch_best_tuned", tuned)):
            if limit and best:
                print(json.dumps({"name": name, "value": round(best, 2), "unit": "tokens/s", "limit": round(limit, 2),
                                  "ratio": round(best / limit, 3)}))
        return 0
    print(f"{'BERT-base, SST-2 lengths, batch 32, ' + str(arguments.threads) + ' threads':46} real tokens/s  peak RSS"
          "  x padded  x best tuned")
    for name, tokens, rss in rows + ours:
        over = [f"{tokens / t:8.2f}" if t else "       -" for t in (slowest, tuned)]
        print(f"{name:46} {tokens:13.1f} {rss:6.2f} GB  {over[0]}  {over[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
