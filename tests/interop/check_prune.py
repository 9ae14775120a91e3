"""Folders that `graft prune` wrote: transformers loads them, cuts texts into the same pieces as before and computes the same numbers.

    <environment>/bin/python3 check_prune.py WORK
"""
import shutil
import sys
from pathlib import Path

import torch
import transformers
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, RobertaConfig, RobertaForMaskedLM

from common import TOLERANCE, PROJECT, graft, json_lines, run_cases

TOKENIZERS = PROJECT / "tests" / "golden" / "tokenizers"
SIZES = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48, max_position_embeddings=128)

# name: tokenizer, class, config
CASES = {
    "bert": ("small-bert-uncased", BertForMaskedLM, lambda size: BertConfig(vocab_size=size, **SIZES)),
    "roberta": ("small-roberta", RobertaForMaskedLM, lambda size: RobertaConfig(vocab_size=size, pad_token_id=1, **SIZES)),
    "xlm-roberta": ("small-xlm-roberta", RobertaForMaskedLM, lambda size: RobertaConfig(vocab_size=size, pad_token_id=1, **SIZES)),
    "gpt2": ("small-gpt2", GPT2LMHeadModel, lambda size: GPT2Config(vocab_size=size, n_embd=32, n_layer=3, n_head=2, n_positions=128)),
}


def make(folder, tokenizer, loads, config):
    torch.manual_seed(1)
    shutil.copytree(TOKENIZERS / tokenizer, folder)
    loads(config(max(AutoTokenizer.from_pretrained(folder).get_vocab().values()) + 1)).save_pretrained(folder)


def load(loads, folder, problems):
    model, info = loads.from_pretrained(folder, output_loading_info=True)
    if info["missing_keys"] or info["unexpected_keys"]:
        problems.append(f"missing {sorted(info['missing_keys'])[:3]}, unexpected {sorted(info['unexpected_keys'])[:3]}")
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def check(counter, name, work, texts):
    tokenizer_name, loads, config = CASES[name]
    start, folder, lower = work / f"{name}-start", work / f"{name}-pruned", work / f"{name}-layers"
    make(start, tokenizer_name, loads, config)
    graft("prune", {"model": start, "vocabulary": texts, "output_dir": folder})
    problems = []
    model, tokenizer = load(loads, folder, problems)
    before, former = load(loads, start, problems)
    if not len(tokenizer) < len(former):
        problems.append(f"{len(tokenizer)} pieces of {len(former)} stay")
    lines = texts.read_text(encoding="utf-8").splitlines()
    ids = [line["input_ids"] for line in json_lines(graft("tokenize", {"model": folder, "input": texts}))]
    for line, mine in zip(lines, ids):
        old = former(line)["input_ids"]
        if tokenizer(line)["input_ids"] != mine:
            problems.append(f"the tokenizer gives other ids than graft: {line}")
        if former.convert_ids_to_tokens(old) != tokenizer.convert_ids_to_tokens(mine):
            problems.append(f"other pieces than before: {line}")
            continue
        # The logits of the pieces that stay are those of the whole model.
        rows = former.convert_tokens_to_ids(tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
        want = before(input_ids=torch.tensor([old])).logits[0][:, rows]
        got = model(input_ids=torch.tensor([mine])).logits[0][:, :len(rows)]
        difference = float((got - want).abs().max() / want.abs().max())
        counter.difference(difference)
        counter.count("texts")
        if not difference <= TOLERANCE:
            problems.append(f"logits differ by {difference}: {line}")
    graft("prune", {"model": start, "layers": "0,2", "output_dir": lower})
    fewer, _ = load(loads, lower, problems)
    if fewer.config.num_hidden_layers != 2:
        problems.append(f"{fewer.config.num_hidden_layers} layers in place of 2")
    return problems


def main(work):
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    work.mkdir(parents=True)
    texts = work / "texts.txt"
    texts.write_text("\n".join(line for line in (TOKENIZERS / "texts.txt").read_text(encoding="utf-8").splitlines()[:20] if line.strip()) + "\n",
                     encoding="utf-8")
    with torch.no_grad():
        run_cases(f"transformers {transformers.__version__} loads pruned models", CASES,
                  lambda counter, name: check(counter, name, work, texts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
