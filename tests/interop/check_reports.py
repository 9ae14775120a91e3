"""Event files of graft read by TensorBoard itself: scalars, steps, texts, and what a run that continues replaces.

    <environment>/bin/python3 check_reports.py WORK
"""
import json
import random
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common import Counter, graft

WORDS = "good bad film plot the a was not very this that one story".split()
CONFIG = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
          "max_position_embeddings": 32, "vocab_size": 5 + len(WORDS)}


def make_world(work):
    work.mkdir(parents=True, exist_ok=True)
    (work / "config.json").write_text(json.dumps(CONFIG))
    (work / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    (work / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": 32}))
    draw = random.Random(1)
    for name in ("train", "dev"):
        rows = [(" ".join(draw.choice(WORDS) for _ in range(6)), draw.choice("ab")) for _ in range(40)]
        (work / f"{name}.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))


def as_float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def main(work):
    counter = Counter("reports")
    make_world(work)
    graft("train", {"config_name": work / "config.json", "tokenizer_name": work, "train_file": work / "train.csv",
                    "validation_file": work / "dev.csv", "output_dir": work / "out", "max_steps": 12, "logging_steps": 2,
                    "eval_strategy": "steps", "eval_steps": 4, "report_to": "all", "run_name": "run", "save_strategy": "no"})
    lines = [json.loads(line) for line in (work / "out/runs/log.jsonl").read_text().splitlines()]
    events = EventAccumulator(str(work / "out/runs/run"))
    events.Reload()
    tags = events.Tags()
    for name in ("loss", "grad_norm", "learning_rate", "eval_loss", "eval_accuracy"):
        tag = name.replace("eval_", "eval/") if name.startswith("eval_") else f"train/{name}"
        wanted = [(line["step"], as_float32(line[name])) for line in lines if name in line]
        found = [(event.step, event.value) for event in events.Scalars(tag)] if tag in tags["scalars"] else []
        counter.count("values", len(found))
        counter.case(tag, [] if wanted and found == wanted else [f"found {found}", f"wanted {wanted}"])
    texts = events.Tensors("args/text_summary") if "args/text_summary" in tags["tensors"] else []
    told = json.loads(texts[0].tensor_proto.string_val[0]) if texts else {}
    counter.case("args", [] if told.get("max_steps") == 12 else [f"found {told}"])
    counter.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
