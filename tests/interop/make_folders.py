"""Makes a folder a case (family, head, dtype, layout) with the release that runs this, and what the reference answers and generates.

    <environment>/bin/python3 make_folders.py OUT [FAMILY...]

Beside each folder lies NAME.expected.json: texts, probabilities, labelled rows and their loss, continuations.
"""
import json
import sys
from pathlib import Path

import torch
import transformers

import families
from families import FAMILIES, LABELS

# (dtype, layout): each value of each at least once with every head; safetensors in all three dtypes. bare: the encoder
# without a head; generic: the tokenizer saved by the class that belongs to no family.
VARIANTS = [("float32", "safetensors"), ("bfloat16", "safetensors"), ("float16", "safetensors"),
            ("float16", "sharded"), ("float32", "sharded"), ("bfloat16", "bin"), ("float32", "bin"),
            ("float32", "bare"), ("bfloat16", "bare"), ("float32", "generic")]
GENERATION = {"greedy": {"max_new_tokens": 20}, "beams": {"max_new_tokens": 20, "num_beams": 4}}


def texts_for(head, tokenizer):
    texts = families.sentences(12, 5)
    if head.startswith("clm"):
        return [f"The film: {text}" for text in texts]  # a text of one token predicts nothing
    if not head.startswith("mlm"):
        return texts
    return [f"{text.split(' ')[0]} {tokenizer.mask_token} {' '.join(text.split(' ')[1:])}".strip() for text in texts]


def labelled_rows(head):
    """Rows of data with labels that have nothing to do with the texts: every metric takes a value in between."""
    rows = []
    for i, text in enumerate(families.sentences(24, 7)):
        label = {"single": LABELS[i % 3], "regression": round(0.37 * (i % 7) - 1, 3),
                 "multi": [name for k, name in enumerate(LABELS) if (i + 1) >> k & 1]}.get(head)
        rows.append({"text": text} if label is None else {"text": text, "label": label})
    return rows


def loss_of_rows(head, scores, rows):
    """The mean loss over the rows, in double precision from the fp32 answers; None for masked-lm."""
    scores = torch.tensor(scores, dtype=torch.float64)
    if head == "single":
        gold = torch.tensor([LABELS.index(row["label"]) for row in rows])
        return -scores[torch.arange(len(rows)), gold].log().mean().item()
    if head == "multi":
        gold = torch.tensor([[float(name in row["label"]) for name in LABELS] for row in rows], dtype=torch.float64)
        return torch.nn.functional.binary_cross_entropy(scores, gold).item()
    if head == "regression":
        return (scores[:, 0] - torch.tensor([row["label"] for row in rows])).square().mean().item()
    return None


def as_generic(tokenizer):
    names = ["unk_token", "cls_token", "sep_token", "pad_token", "mask_token"]
    if tokenizer.cls_token is None:  # a decoder's
        names = ["unk_token", "bos_token", "eos_token", "pad_token"]
    special = {name: getattr(tokenizer, name) for name in names}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer,
                                                model_max_length=tokenizer.model_max_length, **special)


def save(model, tokenizer, dtype, layout, folder):
    stored = model.base_model if layout == "bare" else model
    if layout == "bin":
        folder.mkdir(parents=True)
        stored.config.architectures = [type(stored).__name__]
        stored.config.save_pretrained(folder)
        torch.save(stored.state_dict(), folder / "pytorch_model.bin")
    else:
        stored.save_pretrained(folder, max_shard_size="20KB" if layout == "sharded" else "5GB")
        if layout == "sharded":
            assert (folder / "model.safetensors.index.json").exists()
    (as_generic(tokenizer) if layout == "generic" else tokenizer).save_pretrained(folder)


def main(out, names):
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for family in names or FAMILIES:
        tokenizer = families.make_tokenizer(family, out / family / "tokenizer")
        for head in families.heads_of(family):
            for dtype, layout in VARIANTS:
                name = f"{head}-{dtype}-{layout}"
                model = families.make_model(family, head, tokenizer)
                for parameter in model.parameters():  # not the buffers: the angles of rotary positions stay in fp32
                    parameter.data = parameter.data.to(getattr(torch, dtype))
                save(model, tokenizer, dtype, layout, out / family / name)
                model = model.float()
                texts, rows = texts_for(head, tokenizer), labelled_rows(head)
                expected = {"family": family, "head": head, "dtype": dtype, "layout": layout, "texts": texts, "rows": rows,
                            "model_class": type(model).__name__, "labels": LABELS, "mask_id": tokenizer.mask_token_id, "vocabulary": list(range(len(tokenizer)))}
                if layout != "bare":
                    expected["probabilities"] = families.probabilities(model, head, tokenizer, texts)
                    if head.startswith(("clm", "s2s")):
                        expected["prompts"] = [" ".join(text.split(" ")[:5]) for text in texts[:6]]
                        expected["generation"] = {
                            name: {"settings": settings, "texts": families.continuations(
                                model, tokenizer, expected["prompts"], **settings)}
                            for name, settings in GENERATION.items()}
                    elif not head.startswith("mlm"):
                        pairs = texts[1:] + texts[:1]
                        expected["pairs"] = pairs
                        expected["pair_probabilities"] = families.probabilities(model, head, tokenizer, texts, pairs)
                        scores = families.probabilities(model, head, tokenizer, [row["text"] for row in rows])
                        expected["loss"] = loss_of_rows(head, scores, rows)
                (out / family / f"{name}.expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
