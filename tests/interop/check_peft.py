"""Adapters in both directions: folders that graft writes load in peft with equal probabilities, folders of peft load in graft, and training
steps of adapters agree with peft's.

    <environment>/bin/python3 check_peft.py WORK [FAMILY...]
"""
import json
import sys
from pathlib import Path

import peft
import torch
import transformers
from peft import IA3Config, LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

import families
from adapted import base_model, compare, compare_steps, graft_probabilities, probabilities, save_base, train
from common import TOLERANCE, Counter, GraftError, graft, json_lines, worst_difference

# method -> (options of `graft train`, peft's configuration). DistilBERT and others have no default in peft: targets are given.
TARGETS = {"distilbert": (["q_lin", "v_lin"], ["k_lin", "v_lin", "lin2"], ["lin2"]), "gpt2": (["c_attn"], ["c_attn", "mlp.c_proj"], ["mlp.c_proj"]),
           "t5": (["q", "v"], ["k", "v", "wo"], ["wo"]), "modernbert": (["Wqkv"], ["Wqkv", "mlp.Wo"], ["mlp.Wo"]),
           "mpnet": (["attn.q", "attn.v"], ["attn.k", "attn.v", "output.dense"], ["output.dense"]),
           "deberta-v2": (["query_proj", "value_proj"], ["key_proj", "value_proj", "output.dense"], ["output.dense"]),
           "albert": (["query", "value"], ["key", "value", "ffn_output"], ["ffn_output"])}
USUAL = (["query", "value"], ["key", "value", "output.dense"], ["output.dense"])
METHODS = ["lora", "rslora", "dora", "ia3", "pissa"]
PROMPTS = ["prompt", "prompt of a text"]
CHECKED = {"bert": METHODS + PROMPTS, "distilbert": METHODS + PROMPTS, "roberta": ["lora", "ia3"] + PROMPTS,
           "gpt2": ["lora", "dora", "ia3"] + PROMPTS, "modernbert": ["lora", "ia3", "prompt"], "mpnet": ["lora", "prompt"],
           "deberta-v2": ["lora", "ia3", "prompt"], "electra": ["lora", "prompt"], "albert": ["lora", "prompt"], "xlm-roberta": ["lora", "prompt"]}
TEXT = "which of these words is it?"


def options_of(method):
    return {"lora": {"peft_type": "lora", "lora_r": 4, "lora_alpha": 12}, "rslora": {"peft_type": "lora", "use_rslora": "true"},
            "dora": {"peft_type": "lora", "use_dora": "true", "target_modules": "all-linear"},
            "prompt": {"peft_type": "prompt_tuning", "num_virtual_tokens": 5},
            "prompt of a text": {"peft_type": "prompt_tuning", "num_virtual_tokens": 13, "prompt_tuning_init": "TEXT", "prompt_tuning_init_text": TEXT},
            "ia3": {"peft_type": "ia3"}, "pissa": {"peft_type": "lora", "lora_r": 4, "init_lora_weights": "pissa"}}[method]


def prompt_config(method, start):
    """peft does not find the number of heads of DistilBERT, nor a word embedding that is narrower than the model."""
    base = base_model(start)
    sizes = {"token_dim": base.get_input_embeddings().embedding_dim, "num_attention_heads": base.config.num_attention_heads}
    if method == "prompt":
        return PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=5, **sizes)
    return PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=13, prompt_tuning_init="TEXT", prompt_tuning_init_text=TEXT,
                              tokenizer_name_or_path=str(start), **sizes)


def config_of(method, family, start):
    if method in PROMPTS:
        return prompt_config(method, start)
    lora, ia3, forward = TARGETS.get(family, USUAL)
    if method == "ia3":
        return IA3Config(task_type="SEQ_CLS", target_modules=ia3, feedforward_modules=forward)
    settings = {"lora": {"r": 4, "lora_alpha": 12}, "rslora": {"use_rslora": True}, "dora": {"use_dora": True, "target_modules": "all-linear"},
                "pissa": {"r": 4, "init_lora_weights": "pissa"}}[method]
    if family == "distilbert" and method == "dora":  # peft finds its pre_classifier twice: in all-linear, and as the ending of "classifier"
        settings["target_modules"] = ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"]
    return LoraConfig(task_type="SEQ_CLS", **{"target_modules": lora, "fan_in_fan_out": family == "gpt2", **settings})


def check_prompt(counter, family, method, start, initial, tokenizer, rows, work, problems):
    """The first values of a text, the steps, and that virtual tokens are not merged."""
    tensors = load_file(work / "first" / "adapter_model.safetensors")
    if method == "prompt of a text":
        counter.count("first values", tensors["prompt_embeddings"].numel())
        (value,) = initial.values()
        difference = worst_difference(tensors["prompt_embeddings"].tolist(), value.tolist())
        if difference > 0:
            problems.append(f"first values differ by {difference:.2g}")
    try:
        graft("merge", {"adapter": work / "ours", "output_dir": work / "merged"})
        problems.append("virtual tokens were merged")
    except GraftError as error:
        if "virtual tokens cannot be merged" not in str(error):
            problems.append(str(error))
    if family == "gpt2":  # the reference reads the last position of a batch without ids, which is padding
        return
    config = PromptTuningConfig.from_pretrained(work / "first")  # PeftModel.from_pretrained gives none that is trained
    config.inference_mode = False
    first = get_peft_model(base_model(start), config)
    set_peft_model_state_dict(first, tensors)
    compare_steps(counter, first, tokenizer, rows, work, problems)


def check(counter, family, method, work):
    problems = []
    start, tokenizer = save_base(family, work)
    texts = families.sentences(8, 5)

    # peft writes, graft reads: adapters of random values over the same base.
    torch.manual_seed(3)
    written = get_peft_model(base_model(start), config_of("lora" if method == "pissa" else method, family, start))
    initial = {name: value.detach().clone() for name, value in written.named_parameters() if "prompt" in name}
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
    if method in PROMPTS:
        check_prompt(counter, family, method, start, initial, tokenizer, rows, work, problems)
        return problems
    graft("merge", {"adapter": work / "ours", "output_dir": work / "merged"})
    compare(counter, "merged", graft_probabilities(work / "merged", texts, work), probabilities(loaded, tokenizer, texts), problems)
    if method == "pissa":  # its base is changed: peft trains another form of it
        return problems
    first = PeftModel.from_pretrained(base_model(start), work / "first", is_trainable=True)
    compare_steps(counter, first, tokenizer, rows, work, problems)
    return problems


def save_prompt(family, head, task_type, work, config=PromptTuningConfig, **settings):
    """A model of peft with five virtual tokens before a text, in work/theirs; its tokenizer."""
    work.mkdir(parents=True)
    tokenizer = families.make_tokenizer(family, work / "tokenizer")
    base = families.make_model(family, head, tokenizer)
    for part in (base, tokenizer):
        part.save_pretrained(work / "start")
    base = type(base).from_pretrained(work / "start")
    model = get_peft_model(base, config(task_type=task_type, num_virtual_tokens=5, **settings)).eval()
    model.save_pretrained(work / "theirs")
    return model, tokenizer


def text_logits(model, inputs):
    """Of the tokens of a text: peft gives those of virtual tokens before them, but none of a prefix."""
    with torch.no_grad():
        return model(**inputs).logits[0][-inputs["input_ids"].shape[1]:]


def continuation(model, tokenizer, prompt, new_tokens):
    """Greedy, by forward passes over the whole text: generate() of peft 0.21 with transformers 5.24 differs from them behind virtual tokens."""
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    for _ in range(new_tokens):
        ids = torch.cat([ids, text_logits(model, {"input_ids": ids})[-1:].argmax(-1, keepdim=True)], 1)
        if ids[0, -1] == model.config.eos_token_id:
            break
    return tokenizer.decode(ids[0], skip_special_tokens=True, clean_up_tokenization_spaces=False)


def compare_losses(counter, what, folder, model, tokenizer, work):
    """Losses of the tokens behind the first one; returns the problems."""
    texts, path = families.sentences(8, 5), work / "texts.txt"
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    want = []
    for text in texts:
        inputs = tokenizer(text, return_tensors="pt")
        want.append(torch.nn.functional.cross_entropy(text_logits(model, inputs)[:-1], inputs["input_ids"][0, 1:]).item())
    got = json_lines(graft("predict", {"model": folder, "input": path, "bf16": "false"}))
    difference = worst_difference([[line["loss"]] for line in got], [[loss] for loss in want])
    counter.difference(difference)
    counter.count("losses of texts", len(texts))
    return [] if difference <= TOLERANCE else [f"{what}: losses of texts differ by {difference:.2g}"]


def compare_continuations(counter, folder, model, tokenizer, work):
    """Greedy ones; returns the problems."""
    prompts, path = [" ".join(text.split()[:3]) for text in families.sentences(8, 5)], work / "prompts.txt"
    path.write_text("".join(f"{text}\n" for text in prompts), encoding="utf-8")
    counter.count("continuations", len(prompts))
    want = [continuation(model, tokenizer, prompt, 8) for prompt in prompts]
    options = {"model": folder, "input": path, "bf16": "false", "max_new_tokens": 8}
    return [f"other continuations (use_cache {cache})" for cache in ("true", "false")
            if [line["generated_text"] for line in json_lines(graft("generate", {**options, "use_cache": cache}))] != want]


def check_causal(counter, work):
    model, tokenizer = save_prompt("gpt2", "clm", "CAUSAL_LM", work)
    return (compare_losses(counter, "read", work / "theirs", model, tokenizer, work)
            + compare_continuations(counter, work / "theirs", model, tokenizer, work))


def check_prefix(counter, work, **settings):
    """Keys and values of virtual tokens: peft writes and graft reads, graft trains and peft reads, and the gradients."""
    model, tokenizer = save_prompt("gpt2", "clm", "CAUSAL_LM", work, PrefixTuningConfig, **settings)
    problems = compare_losses(counter, "read", work / "theirs", model, tokenizer, work)
    problems += compare_continuations(counter, work / "theirs", model, tokenizer, work)
    graft("train", {"model": work / "theirs", "task": "causal-lm", "train_file": work / "texts.txt", "line_by_line": "true", "bf16": "false",
                    "max_steps": 5, "learning_rate": 1e-2, "output_dir": work / "ours"})
    base = transformers.AutoModelForCausalLM.from_pretrained(work / "start")
    problems += compare_losses(counter, "written", work / "ours", PeftModel.from_pretrained(base, work / "ours").eval(), tokenizer, work)
    if settings:  # of a projection peft saves the result alone
        return problems
    config = json.loads((work / "start" / "config.json").read_text())
    (work / "theirs" / "config.json").write_text(json.dumps({**config, "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}))
    inputs = tokenizer(families.sentences(5, 5), padding=True, return_tensors="pt")
    save_reference(model, inputs, inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100), work / "theirs")
    for kind in json.loads(graft("parity", {"golden": work / "theirs"}, "--json"))["kinds"]:
        counter.count(kind["kind"], kind["tensors"])
    return problems


def check_projected_prefix(counter, work):
    return check_prefix(counter, work, prefix_projection=True, encoder_hidden_size=24)


def check_text_to_text(counter, work):
    """LoRA and (IA)3 of a T5: the losses of texts, written by peft and by graft."""
    problems = []
    for method in ["lora", "ia3"]:
        part = work / method
        part.mkdir(parents=True)
        tokenizer = families.make_tokenizer("t5", part / "tokenizer")
        for saved in (families.make_model("t5", "s2s", tokenizer), tokenizer):
            saved.save_pretrained(part / "start")
        rows = [{"source": text, "target": " ".join(reversed(text.split(" ")))} for text in families.sentences(8, 5)]
        path = part / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        lora, ia3, forward = TARGETS["t5"]
        config = (LoraConfig(task_type="SEQ_2_SEQ_LM", r=4, lora_alpha=12, target_modules=lora) if method == "lora"
                  else IA3Config(task_type="SEQ_2_SEQ_LM", target_modules=ia3, feedforward_modules=forward))
        torch.manual_seed(3)
        written = get_peft_model(transformers.AutoModelForSeq2SeqLM.from_pretrained(part / "start"), config).eval()
        with torch.no_grad():
            for value in written.parameters():
                if value.requires_grad:
                    value += 0.2 * torch.randn_like(value)
        written.save_pretrained(part / "theirs")
        graft("train", {"model": part / "start", "task": "seq2seq-lm", "train_file": path, "bf16": "false", "max_steps": 5, "learning_rate": 1e-2,
                        "output_dir": part / "ours", **options_of(method)})
        loaded = PeftModel.from_pretrained(transformers.AutoModelForSeq2SeqLM.from_pretrained(part / "start"), part / "ours").eval()
        for what, folder, model in [("read", part / "theirs", written), ("written", part / "ours", loaded)]:
            losses, tokens = 0.0, 0
            for row in rows:
                labels = tokenizer(row["target"], return_tensors="pt")["input_ids"]
                with torch.no_grad():
                    losses += model(**tokenizer(row["source"], return_tensors="pt"), labels=labels).loss.item() * labels.numel()
                tokens += labels.numel()
            got = json.loads(graft("evaluate", {"model": folder, "test_file": path, "bf16": "false"}, "--json"))
            difference = abs(got["eval_loss"] - losses / tokens) / (losses / tokens)
            counter.difference(difference)
            counter.count("losses of texts", len(rows))
            if not difference <= TOLERANCE:
                problems.append(f"{method}, {what}: the loss differs by {difference:.2g}, relative")
    return problems


def check_tokens(counter, work):
    """The tags of words."""
    model, tokenizer = save_prompt("bert", "tokens", "TOKEN_CLS", work)
    rows, path = [text.split() for text in families.sentences(8, 5)], work / "words.jsonl"
    path.write_text("".join(json.dumps({"words": words}) + "\n" for words in rows), encoding="utf-8")
    problems = []
    for words, line in zip(rows, json_lines(graft("predict", {"model": work / "theirs", "input": path, "bf16": "false"}))):
        encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
        logits, first = text_logits(model, encoded), {}
        for i, word in enumerate(encoded.word_ids()):
            if word is not None:
                first.setdefault(word, model.config.id2label[logits[i].argmax().item()])
        if line["tags"] != [first[word] for word in range(len(words))]:
            problems.append(f"tags of {words} differ: {line['tags']}, reference {first}")
        counter.count("tags", len(words))
    return problems


def save_reference(model, inputs, labels, folder):
    """What `graft parity` reads: loss, logits and the gradient of every parameter, those of the frozen base too."""
    for value in model.parameters():
        value.requires_grad_(True)
    out = model(**inputs, labels=labels)
    out.loss.backward()
    grads = {name.removeprefix("base_model.").replace(".modules_to_save.default", "").replace("prompt_encoder.default.embedding.weight",
                                                                                             "prompt_embeddings"): value.grad
             for name, value in model.named_parameters() if "original_module" not in name}
    save_file({"loss": out.loss.detach().reshape(1), "logits": out.logits.detach()}, folder / "outputs.safetensors")
    save_file(grads, folder / "grads.safetensors")
    norm = sum(float(grad.double().square().sum()) for grad in grads.values()) ** 0.5
    (folder / "meta.json").write_text(json.dumps({"library": f"transformers {transformers.__version__}", "grad_norm": norm}))
    (folder / "inputs.json").write_text(json.dumps({name: {"dtype": "int64", "shape": list(value.shape), "data": value.tolist()}
                                                    for name, value in {**inputs, "labels": labels}.items()}))


def check_gradients(counter, work):
    """`graft parity` of a padded batch."""
    model, tokenizer = save_prompt("bert", "single", "SEQ_CLS", work)
    config = json.loads((work / "start" / "config.json").read_text())
    (work / "theirs" / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}))
    inputs = tokenizer(families.sentences(5, 5), padding=True, return_tensors="pt")
    save_reference(model, inputs, torch.arange(5) % model.config.num_labels, work / "theirs")
    for kind in json.loads(graft("parity", {"golden": work / "theirs"}, "--json"))["kinds"]:
        counter.count(kind["kind"], kind["tensors"])
    return []


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
    others = {} if names else {"gradients of a prompt": check_gradients, "prompt of causal-lm": check_causal, "prefix of causal-lm": check_prefix,
                              "projected prefix of causal-lm": check_projected_prefix, "prompt of token-classification": check_tokens, "text to text": check_text_to_text}
    for name, other in others.items():
        try:
            problems = other(counter, work / name.replace(" ", "-"))
        except GraftError as error:
            problems = [str(error)]
        counter.case(name, problems)
    counter.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
