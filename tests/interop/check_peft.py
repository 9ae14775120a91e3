"""Adapters in both directions: folders that graft writes load in peft with equal probabilities, folders of peft load in graft, and training
steps of adapters agree with peft's.

    <environment>/bin/python3 check_peft.py WORK [FAMILY...]
"""
import sys
from pathlib import Path

import peft
import torch
import transformers
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model

import families
from adapted import base_model, compare, compare_steps, graft_probabilities, probabilities, save_base, train
from common import Counter, GraftError, graft

# method -> (options of `graft train`, peft's configuration). DistilBERT and others have no default in peft: targets are given.
TARGETS = {"distilbert": (["q_lin", "v_lin"], ["k_lin", "v_lin", "lin2"], ["lin2"]), "gpt2": (["c_attn"], ["c_attn", "mlp.c_proj"], ["mlp.c_proj"]),
           "t5": (["q", "v"], ["k", "v", "wo"], ["wo"]), "modernbert": (["Wqkv"], ["Wqkv", "mlp.Wo"], ["mlp.Wo"]),
           "mpnet": (["attn.q", "attn.v"], ["attn.k", "attn.v", "output.dense"], ["output.dense"]),
           "deberta-v2": (["query_proj", "value_proj"], ["key_proj", "value_proj", "output.dense"], ["output.dense"]),
           "albert": (["query", "value"], ["key", "value", "ffn_output"], ["ffn_output"])}
USUAL = (["query", "value"], ["key", "value", "output.dense"], ["output.dense"])
METHODS = ["lora", "rslora", "dora", "ia3", "pissa"]
CHECKED = {"bert": METHODS, "distilbert": METHODS, "roberta": ["lora", "ia3"], "gpt2": ["lora", "dora", "ia3"], "modernbert": ["lora", "ia3"],
           "mpnet": ["lora"], "deberta-v2": ["lora", "ia3"], "electra": ["lora"], "albert": ["lora"], "xlm-roberta": ["lora"]}


def options_of(method):
    return {"lora": {"peft_type": "lora", "lora_r": 4, "lora_alpha": 12}, "rslora": {"peft_type": "lora", "use_rslora": "true"},
            "dora": {"peft_type": "lora", "use_dora": "true", "target_modules": "all-linear"},
            "ia3": {"peft_type": "ia3"}, "pissa": {"peft_type": "lora", "lora_r": 4, "init_lora_weights": "pissa"}}[method]


def config_of(method, family):
    lora, ia3, forward = TARGETS.get(family, USUAL)
    if method == "ia3":
        return IA3Config(task_type="SEQ_CLS", target_modules=ia3, feedforward_modules=forward)
    settings = {"lora": {"r": 4, "lora_alpha": 12}, "rslora": {"use_rslora": True}, "dora": {"use_dora": True, "target_modules": "all-linear"},
                "pissa": {"r": 4, "init_lora_weights": "pissa"}}[method]
    if family == "distilbert" and method == "dora":  # peft finds its pre_classifier twice: in all-linear, and as the ending of "classifier"
        settings["target_modules"] = ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"]
    return LoraConfig(task_type="SEQ_CLS", **{"target_modules": lora, "fan_in_fan_out": family == "gpt2", **settings})


def check(counter, family, method, work):
    problems = []
    start, tokenizer = save_base(family, work)
    texts = families.sentences(8, 5)

    # peft writes, graft reads: adapters of random values over the same base.
    torch.manual_seed(3)
    written = get_peft_model(base_model(start), config_of("lora" if method == "pissa" else method, family))
    for name, value in written.named_parameters():
        if value.requires_grad and not name.endswith("bias"):
            with torch.no_grad():
                value += 0.2 * torch.randn_like(value)
    written.save_pretrained(work / "theirs")
    compare(counter, "read", graft_probabilities(work / "theirs", texts, work), probabilities(written, tokenizer, texts), problems)

    # graft trains, peft reads; the steps of both from the same first adapter.
    rows = train(start, work, options_of(method))
    loaded = PeftModel.from_pretrained(base_model(start), work / "ours")
    compare(counter, "written", graft_probabilities(work / "ours", texts, work), probabilities(loaded, tokenizer, texts), problems)
    graft("merge", {"adapter": work / "ours", "output_dir": work / "merged"})
    compare(counter, "merged", graft_probabilities(work / "merged", texts, work), probabilities(loaded, tokenizer, texts), problems)
    if method == "pissa":  # its base is changed: peft trains another form of it
        return problems
    first = PeftModel.from_pretrained(base_model(start), work / "first", is_trainable=True)
    compare_steps(counter, first, tokenizer, rows, work, problems)
    return problems


def main(work, names):
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    counter = Counter(f"adapters against peft {peft.__version__}")
    for family in names or CHECKED:
        for method in CHECKED[family]:
            try:
                problems = check(counter, family, method, work / f"{family}-{method}")
            except GraftError as error:
                problems = [str(error)]
            counter.case(f"{family} {method}", problems)
    counter.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
