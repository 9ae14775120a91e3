"""MAD-X against AdapterHub's library `adapters`, in both directions: language adapters with equal hidden states and probabilities of masked tokens, and
task adapters in a Stack above them with equal probabilities and training steps.

    <environment>/bin/python3 check_language_adapters.py WORK [FAMILY...]

The library applies the inverse in its flexible masked-LM head alone: the reference is a model of its own class with that head.
"""
import sys
from pathlib import Path

import adapters
import torch
import transformers
from adapters.composition import Stack

import families
from adapted import base_model, compare, compare_steps, graft_probabilities, probabilities, save_base, train
from check_adapters import randomise
from common import Counter, GraftError, graft, json_lines, worst_difference

FAMILIES = ["bert", "roberta", "xlm-roberta", "distilbert", "electra"]
CONFIGS = {"seq_bn_inv": {"reduction_factor": 4}, "double_seq_bn_inv": {"reduction_factor": 2, "inv_adapter_reduction_factor": 4, "non_linearity": "gelu"}}
LIMIT = 1e-5


def save_masked_lm(family, work):
    work.mkdir(parents=True)
    tokenizer = families.make_tokenizer(family, work / "tokenizer")
    families.make_model(family, "mlm", tokenizer).save_pretrained(work / "start")
    tokenizer.save_pretrained(work / "start")
    return work / "start", tokenizer


def flexible(start, work):
    """The library's own class with the masked-LM head of the folder."""
    static = transformers.AutoModelForMaskedLM.from_pretrained(start)
    adapters.init(static)
    static.save_head(str(work / "head"))
    model = adapters.AutoAdapterModel.from_pretrained(start)
    model.load_head(str(work / "head"), load_as="mlm")
    return model


def write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def randomise_named(model, *parts):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(part in name for part in parts))
    randomise(model)


def compare_all(counter, what, folder, model, tokenizer, work, problems):
    """The means of the hidden states of texts, and the probabilities of every token for a mask in them."""
    model.eval()
    texts = families.sentences(6, 5)
    masked = [f"{text} {tokenizer.mask_token}" for text in texts]
    hidden, scores = [], []
    with torch.no_grad():
        for text in texts:
            hidden.append(model.base_model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].double().mean(0).tolist())
        for text in masked:
            encoded = tokenizer(text, return_tensors="pt")
            at = encoded.input_ids[0].tolist().index(tokenizer.mask_token_id)
            scores.append(torch.softmax(model(**encoded).logits[0, at].double(), -1).tolist())
    embedded = json_lines(graft("embed", {"model": folder, "input": write_lines(work / "texts.txt", texts), "pooling": "mean", "normalize": "false",
                                          "bf16": "false"}))
    fills = json_lines(graft("predict", {"model": folder, "input": write_lines(work / "masked.txt", masked), "bf16": "false", "top_k": len(scores[0])}))
    filled = []
    for line in fills:
        by_token = {fill["token"]: fill["score"] for fill in line}
        filled.append([by_token[token] for token in range(len(by_token))])
    for name, got, want in [("hidden states", [row["embedding"] for row in embedded], hidden), ("probabilities of tokens", filled, scores)]:
        difference = worst_difference(got, want)
        counter.difference(difference)
        counter.count(name, sum(map(len, want)))
        if not difference <= LIMIT:
            problems.append(f"{what}: {name} differ by {difference:.2g}")


def check_language(counter, family, name, work):
    problems = []
    start, tokenizer = save_masked_lm(family, work)
    written = flexible(start, work)
    written.add_adapter("lang", config=adapters.AdapterConfig.load(name, **CONFIGS[name]))
    written.set_active_adapters("lang")
    randomise_named(written, ".lang.")
    for safe in (False, True):
        folder = work / f"theirs-{safe}"
        written.save_adapter(str(folder), "lang", use_safetensors=safe)
        compare_all(counter, "read", folder, written, tokenizer, work, problems)
    graft("train", {"model": start, "task": "masked-lm", "train_file": write_lines(work / "train.txt", families.sentences(80, 6)), "output_dir": work / "ours",
                    "bf16": "false", "max_steps": 6, "learning_rate": 1e-2, "peft_type": name, **CONFIGS[name]})
    ours, info = flexible(start, work), {}
    ours.load_adapter(str(work / "ours"), load_as="lang", use_safetensors=True, set_active=True, loading_info=info)
    ours.active_head = "mlm"
    if info.get("missing_keys") or info.get("unexpected_keys"):
        problems.append(f"the library finds missing {info.get('missing_keys')} and unexpected {info.get('unexpected_keys')}")
    compare_all(counter, "written", work / "ours", ours, tokenizer, work, problems)
    return problems


def stacked(start, language, task=None, task_config=None):
    """A classifier of the library with a task adapter above a language adapter, each of a folder or new."""
    model = base_model(start)
    adapters.init(model)
    if isinstance(language, Path):
        model.load_adapter(str(language), load_as="lang", use_safetensors=True, with_head=False)
    else:
        model.add_adapter("lang", config=language)
    if task:
        model.load_adapter(str(task), load_as="task", use_safetensors=True)
    else:
        model.add_adapter("task", config=task_config)
    model.train_adapter("task")
    model.set_active_adapters(Stack("lang", "task"))
    return model


def check_stack(counter, family, task_name, work):
    problems = []
    start, tokenizer = save_base(family, work)
    texts = families.sentences(8, 5)
    language = adapters.AdapterConfig.load("seq_bn_inv" if task_name == "double_seq_bn" else "double_seq_bn_inv", reduction_factor=4)
    written = stacked(start, language, task_config=adapters.AdapterConfig.load(task_name, reduction_factor=2))
    randomise_named(written, ".lang.", ".task.")
    for name in ("lang", "task"):
        written.save_adapter(str(work / f"their-{name}"), name, use_safetensors=True, with_head=name == "task")
    want = probabilities(written, tokenizer, texts)
    got = graft_probabilities(work / "their-task", texts, work, load_lang_adapter=work / "their-lang")
    compare(counter, "read", got, want, problems)

    for lang, seed in (("en", 1), ("de", 2)):
        graft("train", {"model": start, "task": "masked-lm", "train_file": write_lines(work / f"{lang}.txt", families.sentences(80, seed)), "bf16": "false",
                        "output_dir": work / lang, "max_steps": 4, "learning_rate": 1e-2, "peft_type": "seq_bn_inv", "reduction_factor": 4})
    rows = train(start, work, {"peft_type": task_name, "reduction_factor": 4, "load_lang_adapter": work / "en"})
    ours = stacked(start, work / "en", work / "ours")
    compare(counter, "written", graft_probabilities(work / "ours", texts, work), probabilities(ours, tokenizer, texts), problems)
    swapped = stacked(start, work / "de", work / "ours")
    compare(counter, "another language", graft_probabilities(work / "ours", texts, work, load_lang_adapter=work / "de"),
            probabilities(swapped, tokenizer, texts), problems)
    compare_steps(counter, stacked(start, work / "en", work / "first"), tokenizer, rows, work, problems)
    return problems


def main(work, names):
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    counter = Counter(f"MAD-X against adapters {adapters.__version__}")
    for family in names or FAMILIES:
        checks = [(f"{family} {name}", check_language, name) for name in CONFIGS]
        checks += [(f"{family} {name} stacked", check_stack, name) for name in ("seq_bn", "double_seq_bn")]
        for title, check, name in checks:
            try:
                problems = check(counter, family, name, work / title.replace(" ", "-"))
            except GraftError as error:
                problems = [str(error)]
            counter.case(title, problems)
    counter.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
