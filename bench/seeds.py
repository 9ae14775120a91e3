#!/usr/bin/env python3
"""One fine-tuning with several seeds: mean and standard deviation of its metrics, and the time of a run.

    bench/seeds.py [--graft build/graft] [--seeds 1,2,3,4,5] METRIC[,METRIC...] [--] OPTIONS OF graft train

METRIC is a name in the json that `graft train --json` prints (test_overall_f1, test_accuracy). The options must not hold --seed and
--output_dir. The standard library only.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time


def run(graft, options, seed):
    with tempfile.TemporaryDirectory() as out:
        start = time.monotonic()
        done = subprocess.run([graft, "train", *options, "--seed", str(seed), "--output_dir", out, "--save_strategy", "no", "--json"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"graft train failed with exit code {done.returncode}:\n{done.stderr[-2000:]}")
        return json.loads(done.stdout), time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--graft", default="build/graft")
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("metrics")
    known, options = parser.parse_known_args()
    options = [one for one in options if one != "--"]
    metrics, results, seconds = known.metrics.split(","), [], []
    for seed in known.seeds.split(","):
        result, took = run(known.graft, options, int(seed))
        missing = [one for one in metrics if not isinstance(result.get(one), (int, float))]
        if missing:
            sys.exit(f"no {missing[0]} among {', '.join(sorted(result))}")
        results.append(result)
        seconds.append(took)
        print(f"seed {seed}: " + ", ".join(f"{one} {result[one]:.4f}" for one in metrics) + f"  ({took:.0f} s)", flush=True)
    for one in metrics:
        values = [result[one] for result in results]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{one}: mean {statistics.mean(values):.4f}, sd {spread:.4f}, {min(values):.4f} to {max(values):.4f}")
    print(f"seconds of a run: median {statistics.median(seconds):.0f}")


main()
