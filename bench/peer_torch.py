#!/usr/bin/env python3
"""The training step of bench/step_bench (BERT-base, SST-2 lengths, batch 32, dropout, clipping, AdamW) in PyTorch,
in the ways in which it is run in practice, beside graft's own number from the same call.

    bench/peer_torch.py [--steps N] [--graft PROGRAM] [--lengths FILE] [--json]

GPT-2 small beside transformers: a training step on blocks of 512 tokens, and generation (modes "gpt2 ...").

The model of the others is a plain BERT on torch's public API (Debian: apt-get install python3-torch libopenblas0-openmp; without
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


def run_gpt2_step(torch, bf16, steps):
    """Seconds and tokens of training steps of transformers' GPT-2 small on 4 blocks of 512 tokens."""
    import transformers
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config()).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    measured = []
    for i in range(steps + 1):
        start = time.perf_counter()
        ids = torch.randint(0, model.config.vocab_size, (4, 512))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = model(ids, labels=ids).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if i > 0:
            measured.append((time.perf_counter() - start, ids.numel()))
    return measured


def run_gpt2_generate(torch, batch, bf16, steps):
    """Seconds and tokens of greedy continuations of 16 tokens by `steps` * 8 each, without the pass over the prompt."""
    import transformers
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()
    if bf16:
        model = model.to(torch.bfloat16)
    ids = torch.randint(0, model.config.vocab_size, (batch, 16))

    def seconds(new):
        start = time.perf_counter()
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new,
                       do_sample=False, pad_token_id=0)
        return time.perf_counter() - start

    seconds(2)
    with torch.inference_mode():
        return [(seconds(8 * steps + 1) - seconds(1), 8 * steps * batch) for _ in range(5)]


def run_gpt2(torch, mode, steps):
    bf16 = mode.endswith("bf16")
    if "step" in mode:
        return run_gpt2_step(torch, bf16, steps)
    return run_gpt2_generate(torch, 8 if "batch 8" in mode else 1, bf16, steps)


GPT2_MODES = ["gpt2 step, fp32", "gpt2 generate, batch 1, fp32", "gpt2 generate, batch 8, fp32", "gpt2 step, bf16",
              "gpt2 generate, batch 1, bf16", "gpt2 generate, batch 8, bf16"]


def run_graft_gpt2(program, mode, steps):
    """graft's tokens a second for one of GPT2_MODES."""
    step = "step" in mode
    command = [program, "gpt2_small_lm512", "--steps", str(steps)] if step else [
        str(pathlib.Path(program).parent / "generation_bench")]
    lines = subprocess.run(command + ["--" + mode[-4:], "--json"], check=True, capture_output=True,
                           text=True).stdout.splitlines()
    values = {d["name"]: d["value"] for d in map(json.loads, lines)}
    return values["step_gpt2_small_lm512_tokens" if step else f"generate_gpt2_small_batch{8 if 'batch 8' in mode else 1}"]


def compare_gpt2(arguments, modes):
    """A row for each mode: PyTorch's tokens a second beside graft's."""
    try:
        import transformers
    except ImportError:
        print("peer_torch: GPT-2 is skipped, transformers is not installed for this Python", file=sys.stderr)
        return
    for mode in modes:
        theirs = run_child(arguments, mode)["tokens"]
        ours = run_graft_gpt2(arguments.graft, mode, arguments.steps) if os.path.exists(arguments.graft) else 0
        if arguments.json:
            name = "peer_torch_" + mode.replace(",", "").replace(" ", "_")
            print(json.dumps({"name": name, "value": round(ours, 2), "unit": "tokens/s", "limit": round(theirs, 2),
                              "ratio": round(ours / theirs, 3)}))
        else:
            print(f"{mode:46} graft {ours:8.1f} tokens/s  transformers {transformers.__version__} {theirs:8.1f}"
                  f"  x {ours / theirs:.2f}", flush=True)


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
    if arguments.mode.startswith("gpt2"):
        report(run_gpt2(torch, arguments.mode, arguments.steps))
        return
    plain = [list(range(i, i + BATCH)) for i in range(0, len(lengths) - BATCH, BATCH)]
    batches = grouped(lengths) if arguments.mode.startswith("grouped") else plain
    width = 128 if arguments.mode.startswith("padded") else 0
    report(run_mode(torch, batches, lengths, width, arguments.mode.endswith("bf16"), arguments.steps))


def report(measured):
    print(json.dumps({"tokens": statistics.median(n / s for s, n in measured),
                      "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}))


def run_child(arguments, mode):
    out = subprocess.run([sys.executable, __file__, "--mode", mode, "--steps", str(arguments.steps), "--threads",
                          str(arguments.threads), "--lengths", arguments.lengths],
                         check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


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
    gpt2 = [m for m in GPT2_MODES if has_bf16 or m.endswith("fp32")]
    compare_gpt2(arguments, [m for m in gpt2 if not arguments.modes or m in arguments.modes])
    modes = [m for m in arguments.modes or modes if not m.startswith("gpt2")]
    if not modes:
        return 0
    for mode in modes:
        d = run_child(arguments, mode)
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
