"""Bottleneck adapters in both directions: folders of AdapterHub's library `adapters` load in graft with equal probabilities, folders that graft
writes load in the library, training steps agree, and the real adapter of ../shared computes what the library computes.

    <environment>/bin/python3 check_adapters.py WORK [FAMILY...]
"""
import json
import shutil
import sys
from pathlib import Path

import adapters
import torch
import transformers

import families
from adapted import base_model, compare, compare_steps, graft_probabilities, probabilities, save_base, train
from common import SHARED, Counter, GraftError, graft

REAL = SHARED / "data" / "checkpoints" / "adapter-xlm-t-sentiment"
# case -> (name in the library, changes of its configuration, as options of graft too)
CASES = {
    "seq_bn": ("seq_bn", {"reduction_factor": 4}),
    "double_seq_bn": ("double_seq_bn", {"reduction_factor": 2, "non_linearity": "gelu"}),
    "par_bn": ("par_bn", {"reduction_factor": 4, "init_weights": "houlsby"}),
    "post_add": ("seq_bn", {"residual_before_ln": "post_add", "reduction_factor": 8, "leave_out": [0]}),
    "normed": ("double_seq_bn", {"original_ln_before": True, "residual_before_ln": False, "scaling": "learned"}),
    "norms": ("double_seq_bn", {"ln_before": True, "ln_after": True, "scaling": "channel"}),
    "norms inside": ("seq_bn", {"ln_after": True, "adapter_residual_before_ln": True, "mh_adapter": True, "scaling": 0.5}),
    "no norm after": ("seq_bn", {"original_ln_after": False, "residual_before_ln": False}),
    "seq_bn_inv": ("seq_bn_inv", {"reduction_factor": 4}),
    "double_seq_bn_inv": ("double_seq_bn_inv", {"inv_adapter_reduction_factor": 4, "non_linearity": "gelu"}),
    "parallel norms": ("par_bn", {"ln_before": True, "ln_after": True, "mh_adapter": True, "non_linearity": "tanh"}),
}
CHECKED = {"bert": list(CASES), "distilbert": ["seq_bn", "double_seq_bn", "par_bn", "seq_bn_inv"], "roberta": ["seq_bn", "double_seq_bn"],
           "xlm-roberta": ["seq_bn", "par_bn", "seq_bn_inv"], "electra": ["seq_bn", "double_seq_bn", "seq_bn_inv"]}


def options_of(name, changes):
    """The options of `graft train`; scaling has another name there."""
    spelled = {True: "true", False: "false"}
    options = {"peft_type": name}
    for key, value in changes.items():
        option = "adapter_scaling" if key == "scaling" else key
        options[option] = value if isinstance(value, list) else spelled[value] if isinstance(value, bool) else value
    return options


def with_adapter(start, config):
    model = base_model(start)
    adapters.init(model)
    model.add_adapter("task", config=config)
    model.train_adapter("task")
    return model


def randomise(model):
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            with torch.no_grad():
                parameter += 0.2 * torch.randn_like(parameter)


def loaded(start, folder, train_it=False):
    model = base_model(start)
    adapters.init(model)
    info = {}
    name = model.load_adapter(str(folder), use_safetensors=True, set_active=True, loading_info=info)
    if info.get("missing_keys") or info.get("unexpected_keys"):
        raise GraftError(f"the library finds missing {info.get('missing_keys')} and unexpected {info.get('unexpected_keys')}")
    if train_it:
        model.train_adapter(name)
    return model


def check(counter, family, case, work):
    problems = []
    start, tokenizer = save_base(family, work)
    texts = families.sentences(8, 5)
    name, changes = CASES[case]
    config = adapters.AdapterConfig.load(name, **changes)

    # The library writes, graft reads: in both of its file formats.
    written = with_adapter(start, config)
    randomise(written)
    want = probabilities(written, tokenizer, texts)
    # The library cannot write safetensors with ln_before: the norm is there under two names.
    for safe in (False,) if changes.get("ln_before") else (False, True):
        folder = work / f"theirs-{safe}"
        written.save_adapter(str(folder), "task", use_safetensors=safe)
        compare(counter, "read", graft_probabilities(folder, texts, work), want, problems)

    # graft trains, the library reads; the steps of both from the same first adapter.
    rows = train(start, work, options_of(name, changes))
    ours = loaded(start, work / "ours")
    compare(counter, "written", graft_probabilities(work / "ours", texts, work), probabilities(ours, tokenizer, texts), problems)
    compare_steps(counter, loaded(start, work / "first", train_it=True), tokenizer, rows, work, problems)
    return problems


def check_real(counter, work):
    """The adapter and its head over an XLM-R of its size with random weights: its own base is not there."""
    problems = []
    work.mkdir(parents=True)
    tokenizer = families.make_tokenizer("xlm-roberta", work / "start")
    torch.manual_seed(5)
    config = transformers.XLMRobertaConfig(vocab_size=len(tokenizer), type_vocab_size=1, max_position_embeddings=66, pad_token_id=tokenizer.pad_token_id)
    base = adapters.XLMRobertaAdapterModel(config)
    base.save_pretrained(work / "start")
    tokenizer.save_pretrained(work / "start")
    folder = work / "real"
    folder.mkdir()
    for file in REAL.iterdir():
        if file.suffix != ".safetensors":
            shutil.copyfile(file, folder / file.name)
    base.load_adapter(str(folder), set_active=True)
    stated = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**stated, "model_name": str(work / "start")}))
    texts = families.sentences(6, 7)
    want = probabilities(base, tokenizer, texts)
    compare(counter, "pytorch_adapter.bin", graft_probabilities(folder, texts, work), want, problems)
    other = work / "safetensors"
    other.mkdir()
    for file in REAL.iterdir():
        if file.suffix == ".safetensors" or file.name == "head_config.json":
            shutil.copyfile(file, other / file.name)
    shutil.copyfile(folder / "adapter_config.json", other / "adapter_config.json")
    compare(counter, "pytorch_adapter.safetensors", graft_probabilities(other, texts, work), want, problems)
    # Trained further by graft, and back in the library.
    rows = work / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": text, "label": ["Neg", "Neu", "Pos"][i % 3]}) + "\n" for i, text in enumerate(texts)))
    graft("train", {"model": folder, "task": "sequence-classification", "train_file": rows, "output_dir": work / "further", "bf16": "false", "max_steps": 2,
                    "learning_rate": 1e-3})
    further = base_model(work / "further") if (work / "further" / "model.safetensors").exists() else None
    if further:
        problems.append("graft wrote a whole model")
    static = transformers.XLMRobertaForSequenceClassification.from_pretrained(work / "start", num_labels=3)
    adapters.init(static)
    static.load_adapter(str(work / "further"), use_safetensors=True, set_active=True)
    compare(counter, "trained further", graft_probabilities(work / "further", texts, work), probabilities(static, tokenizer, texts), problems)
    return problems


def main(work, names):
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    counter = Counter(f"bottleneck adapters against adapters {adapters.__version__}")
    runs = [(f"{family} {case}", lambda family=family, case=case: check(counter, family, case, work / f"{family}-{case}".replace(" ", "_")))
            for family in names or CHECKED for case in CHECKED[family]]
    if not names and REAL.exists():
        runs.append(("the real adapter", lambda: check_real(counter, work / "real")))
    elif not names:
        counter.skip("the real adapter is not in ../shared")
    for name, run in runs:
        try:
            problems = run()
        except GraftError as error:
            problems = [str(error)]
        counter.case(name, problems)
    counter.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
