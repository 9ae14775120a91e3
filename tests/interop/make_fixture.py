"""Makes fixture folders of the form of tests/golden from the release that runs this; `graft parity --golden OUT` compares them.

    .interop/5.24.0/bin/python3 tests/interop/make_fixture.py OUT FAMILY [HEAD...]

A family is an encoder's row of families.py. Heads: seqcls_single seqcls_multi seqcls_regression mlm tokencls qa_unpadded
multiple_choice, and rtd of electra. tests/golden/README.md says what the files hold.
"""
import json
import random
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import (AutoConfig, AutoModelForMultipleChoice, AutoModelForPreTraining, AutoModelForQuestionAnswering,
                          AutoModelForTokenClassification)

import families
from families import FAMILIES, make_model

families.HEADS |= {"tokencls": (AutoModelForTokenClassification, {}), "qa_unpadded": (AutoModelForQuestionAnswering, {}),
                   "multiple_choice": (AutoModelForMultipleChoice, {}), "rtd": (AutoModelForPreTraining, {})}

VOCAB, POSITIONS, LENGTHS, LABELS = 200, 40, (17, 9, 5, 12, 2), 3
RATES = (0.0, 5e-4, 1e-3, 8.75e-4, 7.5e-4)  # linear, warm-up of 2 of 10 steps
HEAD_OF = {"seqcls_single": "single", "seqcls_multi": "multi", "seqcls_regression": "regression", "mlm": "mlm",
           "tokencls": "tokencls", "qa_unpadded": "qa_unpadded", "multiple_choice": "multiple_choice", "rtd": "rtd"}
NO_STEPS = ("seqcls_multi", "multiple_choice", "rtd")
STABLE = 1e-5  # a parameter whose fp32 and fp64 runs differ by more after five steps has no meaningful value


class Special:
    """Stands for a tokenizer: the special ids of the family's own configuration."""

    def __init__(self, family):
        config = AutoConfig.for_model(family)
        for i, name in enumerate(("pad", "bos", "eos")):  # ids of a larger vocabulary become 0, 1, 2
            value = getattr(config, f"{name}_token_id", None)
            setattr(self, f"{name}_token_id", value if value is None or value < VOCAB else i)

    def __len__(self):
        return VOCAB


def inputs_for(family, head, pad, types):
    draw = random.Random(f"{family} {head}")
    lengths = {"qa_unpadded": [17] * 5, "multiple_choice": [9, 6, 3, 9, 5, 8]}.get(head, LENGTHS)
    width = max(lengths)
    ids = [[draw.randrange(3, VOCAB) for _ in range(n)] + [pad] * (width - n) for n in lengths]
    ids[0][4] = ids[0][8]  # a token that occurs twice in one row
    mask = [[int(i < n) for i in range(width)] for n in lengths]
    out = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
    if types:
        out["token_type_ids"] = torch.tensor([[int(i >= n // 2 and i < n) for i in range(width)] for n in lengths])
    if head == "qa_unpadded":  # the second answer lies behind the row: it does not count
        return out | {"start_positions": torch.tensor([15, 20, 6, 4, 3]), "end_positions": torch.tensor([15, 22, 10, 11, 9])}
    if head == "multiple_choice":
        return {name: x.view(3, 2, width) for name, x in out.items()} | {"labels": torch.tensor([1, 0, 1])}
    if head == "tokencls":
        out["labels"] = torch.tensor([[draw.randrange(LABELS) if i < n and draw.random() < 0.7 else -100 for i in range(width)]
                                      for n in lengths])
    elif head == "mlm":
        out["labels"] = torch.tensor([[draw.randrange(3, VOCAB) if i < n and draw.random() < 0.3 else -100 for i in range(width)]
                                      for n in LENGTHS])
    elif head == "rtd":  # a label for each token
        out["labels"] = torch.tensor([[int(i < n and draw.random() < 0.3) for i in range(width)] for n in lengths])
    elif head == "seqcls_single":
        out["labels"] = torch.tensor([draw.randrange(LABELS) for _ in LENGTHS])
    elif head == "seqcls_multi":
        out["labels"] = torch.tensor([[float(draw.randrange(2)) for _ in range(LABELS)] for _ in LENGTHS])
    else:
        out["labels"] = torch.tensor([round(draw.uniform(-2, 2), 3) for _ in LENGTHS])
    return out


def parameters_of(model):
    """Every parameter once; a tied one under its name in the encoder, as the reference stores it."""
    names = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) not in names or name.startswith(f"{model.base_model_prefix}."):
            names[id(parameter)] = (name, parameter)
    return dict(names.values())


def pass_of(model, inputs):
    """Outputs of one forward pass and the gradients of all parameters."""
    model.zero_grad()
    dtype = next(model.parameters()).dtype
    inputs = {name: x.to(dtype) if x.is_floating_point() else x for name, x in inputs.items()}
    out = model(**inputs, output_hidden_states=True)
    out.loss.backward()
    grads = {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in parameters_of(model).items()}
    return out, grads


def norm_of(grads):
    return torch.sqrt(sum(g.double().square().sum() for g in grads.values())).item()


def five_steps(model, inputs, no_decay):
    groups = [{"params": [p for name, p in parameters_of(model).items() if (name in no_decay) == bare], "weight_decay": decay}
              for bare, decay in ((False, 0.01), (True, 0.0))]
    optimizer = torch.optim.AdamW(groups, lr=RATES[0], betas=(0.9, 0.999), eps=1e-8)
    steps = []
    for rate in RATES:
        for group in optimizer.param_groups:
            group["lr"] = rate
        out, _ = pass_of(model, inputs)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps.append({"loss": out.loss.item(), "lr": rate, "grad_norm_before_clip": norm.item()})
    return steps, {name: p.detach().clone() for name, p in parameters_of(model).items()}


def without_decay(model):
    norms = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, torch.nn.LayerNorm)}
    return {name for name in parameters_of(model) if "bias" in name or name in norms}


def make(out, family, head):
    special = Special(family)
    extra = {"max_position_embeddings": POSITIONS,
             "num_labels": {"seqcls_regression": 1, "qa_unpadded": 2}.get(head, LABELS)}
    row = FAMILIES[family]["config"]
    dropouts = [name for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "dropout",
                                  "attention_dropout", "seq_classif_dropout", "classifier_dropout_prob", "summary_last_dropout",
                                  "embedding_dropout", "mlp_dropout") if hasattr(AutoConfig.for_model(family), name)]
    overrides = {**{name: 0.0 for name in dropouts}, **extra}
    FAMILIES[family] = {**FAMILIES[family], "config": {k: v for k, v in row.items() if k not in overrides}}

    def fresh(dtype):
        return make_model(family, HEAD_OF[head], special, **overrides).to(dtype)

    model = fresh(torch.float32)
    inputs = inputs_for(family, head, special.pad_token_id, getattr(model.config, "type_vocab_size", 0) == 2)
    outputs, grads = pass_of(model, inputs)
    exact, exact_grads = pass_of(fresh(torch.float64), inputs)
    no_decay = without_decay(model)
    scores = ("start_logits", "end_logits") if head == "qa_unpadded" else ("logits",)
    tensors = {"loss": outputs.loss, "last_hidden_state": outputs.hidden_states[-1],
               **{name: getattr(outputs, name) for name in scores}}
    if head == "seqcls_single":
        tensors |= {f"hidden_states.{i}": h for i, h in enumerate(outputs.hidden_states)}
    folder = out / family / head
    folder.mkdir(parents=True, exist_ok=True)
    start = {name: p.detach().clone() for name, p in parameters_of(model).items()}
    steps, after = five_steps(model, inputs, no_decay)
    exact_steps, exact_after = five_steps(fresh(torch.float64), inputs, no_decay)
    errors = {name: (after[name].double() - exact_after[name]).abs().max().item() for name in after}
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    save_file(start, folder / "model.safetensors", metadata={"format": "pt"})
    save_file({name: x.detach().clone().contiguous() for name, x in tensors.items()}, folder / "outputs.safetensors")
    save_file(grads, folder / "grads.safetensors")
    if head not in NO_STEPS:
        save_file(after, folder / "after5.safetensors")
    (folder / "inputs.json").write_text(json.dumps(
        {name: {"dtype": str(x.dtype).removeprefix("torch."), "shape": list(x.shape), "data": x.tolist()} for name, x in inputs.items()}))
    (folder / "meta.json").write_text(json.dumps({
        "architecture": type(model).__name__, "library": f"transformers {transformers.__version__} on torch {torch.__version__}",
        "loss": outputs.loss.item(), "loss_fp64": exact.loss.item(), "grad_norm": norm_of(grads),
        "steps": steps, "steps_fp64": exact_steps, "decay": [name for name in start if name not in no_decay],
        "no_decay": [name for name in start if name in no_decay],
        "parameters_without_gradient": [name for name, g in exact_grads.items() if not g.abs().max() > 0],
        "after5_unstable": {name: {"max_abs": error} for name, error in errors.items() if error > STABLE}}, indent=1) + "\n")
    print(folder)


def main(out, family, heads):
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    for head in heads or [name for name in HEAD_OF if name != "rtd" or family == "electra"]:
        make(out, family, head)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
