"""Folders that `graft adapt` wrote: transformers loads them with the same ids and the same numbers, new pieces of a vocabulary included.

Of replaced-token detection: the discriminator and its generator, with logits, loss and gradients by `graft parity`.

    <environment>/bin/python3 check_adapt.py WORK
"""
import json
import shutil
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import (AutoTokenizer, BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel, ElectraConfig,
                          ElectraForMaskedLM, ElectraForPreTraining, GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration)

from common import TOLERANCE, PROJECT, graft, json_lines, relative, run_cases

TOKENIZERS = PROJECT / "tests" / "golden" / "tokenizers"
WORDS = "the patient received a nephrotoxic antibiotic for acute glomerulonephritis after transplantation while film critics liked plain music".split()


def tiny_bert(size):
    return BertModel(BertConfig(vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
                                max_position_embeddings=64))


def tiny_gpt2(size):
    return GPT2LMHeadModel(GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=2, n_positions=64))


def tiny_t5(size):
    return T5ForConditionalGeneration(T5Config(vocab_size=size, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2,
                                               decoder_start_token_id=0))


def tiny_electra(size, kind=ElectraForPreTraining, hidden_size=32):
    return kind(ElectraConfig(vocab_size=size, embedding_size=16, hidden_size=hidden_size, num_hidden_layers=2, num_attention_heads=2,
                              intermediate_size=48, max_position_embeddings=64))


# name: tokenizer, model, the class that loads the result, options of adapt
CASES = {
    "bert": ("small-bert-uncased", tiny_bert, BertForMaskedLM, {"extend_vocabulary": 4, "head_steps": 5}),
    "gpt2": ("small-gpt2", tiny_gpt2, GPT2LMHeadModel, {"extend_vocabulary": 4}),
    "t5": ("small-t5", tiny_t5, T5ForConditionalGeneration, {"extend_vocabulary": 4}),
    "electra": ("small-bert-uncased", tiny_electra, ElectraForPreTraining, {"mlm_probability": 0.3}),
}


def write_corpus(file):
    """Sentences in which the longer words are frequent."""
    lines = [" ".join(WORDS[(i * 7 + j * (1 + i % 5)) % len(WORDS)] for j in range(6 + i % 9)) + f" case {i}." for i in range(400)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def make(folder, tokenizer, build):
    torch.manual_seed(1)
    shutil.copytree(TOKENIZERS / tokenizer, folder)
    size = max(AutoTokenizer.from_pretrained(folder).get_vocab().values()) + 1
    build(size).save_pretrained(folder)


def make_generator(folder, discriminator):
    """With the embeddings of the discriminator, as a pair that was pretrained together has them."""
    shutil.copytree(TOKENIZERS / CASES["electra"][0], folder)
    model = ElectraForPreTraining.from_pretrained(discriminator)
    generator = tiny_electra(model.config.vocab_size, ElectraForMaskedLM, 16)
    generator.electra.embeddings.load_state_dict(model.electra.embeddings.state_dict())
    generator.save_pretrained(folder)
    return folder


def parity_of(model, folder, tokenizer, work):
    """The worst difference of graft's logits, loss and gradients from the reference's, each as a share of its limit."""
    torch.manual_seed(2)
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.0
    model = ElectraForPreTraining.from_pretrained(folder, config=model.config)  # without dropout in training too
    inputs = tokenizer(["the patient received music", "film critics liked plain music while the patient received a antibiotic"],
                       return_tensors="pt", padding=True)
    inputs["labels"] = (torch.rand(inputs["input_ids"].shape) < 0.3).long() * inputs["attention_mask"]
    with torch.enable_grad():
        out = model.train()(**inputs)
        out.loss.backward()
    work.mkdir()
    model.config.architectures = ["ElectraForPreTraining"]
    model.config.save_pretrained(work)
    parameters = dict(model.named_parameters())
    save_file({name: p.detach().clone() for name, p in parameters.items()}, work / "model.safetensors")
    save_file({name: p.grad.clone() for name, p in parameters.items()}, work / "grads.safetensors")
    save_file({"logits": out.logits.detach().clone(), "loss": out.loss.detach().clone()}, work / "outputs.safetensors")
    (work / "inputs.json").write_text(json.dumps({name: {"dtype": str(x.dtype).removeprefix("torch."), "shape": list(x.shape),
                                                         "data": x.tolist()} for name, x in inputs.items()}))
    norm = torch.sqrt(sum(p.grad.double().square().sum() for p in parameters.values())).item()
    (work / "meta.json").write_text(json.dumps({"library": f"transformers {transformers.__version__}", "grad_norm": norm}))
    report = json_lines(graft("parity", {"golden": work}, "--json"))[0]
    return {kind["kind"]: kind["worst_of_limit"] for kind in report["kinds"]}, report["not_compared"]


def check_pair(counter, folder, model, tokenizer, work):
    """Problems of a discriminator's folder and of the generator in it."""
    generator, info = ElectraForMaskedLM.from_pretrained(folder / "generator", output_loading_info=True)
    problems = [f"the generator lacks {sorted(info['missing_keys'])[:4]}"] if info["missing_keys"] else []
    AutoTokenizer.from_pretrained(folder / "generator")
    own, shared = model.electra.embeddings.state_dict(), generator.electra.embeddings.state_dict()
    if not all(torch.equal(own[name], shared[name]) for name in own):
        problems.append("the embeddings of the pair are no longer the same")
    shares, left_out = parity_of(model, folder, tokenizer, work / "parity")
    counter.count("tensors by parity", len(shares))
    return problems + [f"{kind}: {share} of its limit" for kind, share in shares.items() if share > 1] + left_out


def masked_loss(model, tokenizer, text):
    """The probability of the best fill of each mask."""
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    rows = model(input_ids=ids).logits[0].softmax(-1)
    return [float(rows[i].max()) for i in (ids[0] == tokenizer.mask_token_id).nonzero().flatten()]


def compare(name, folder, model, tokenizer, work):
    """Pairs of numbers, graft's and the reference's."""
    texts = work / f"{name}.txt"
    if name == "bert":
        text = f"the {tokenizer.mask_token} received transplantation"
        texts.write_text(text + "\n", encoding="utf-8")
        answer = json_lines(graft("predict", {"model": folder, "input": texts, "top_k": 1, "bf16": "false"}))[0]
        return [(answer[0]["score"], masked_loss(model, tokenizer, text)[0])]
    text = "the patient received music"  # shorter than --max_seq_length of the adaptation
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    if name == "gpt2":
        texts.write_text(text + "\n", encoding="utf-8")
        answer = json_lines(graft("predict", {"model": folder, "input": texts, "bf16": "false"}))[0]
        return [(answer["loss"], float(model(input_ids=ids, labels=ids).loss))]
    pair = work / "pair.jsonl"
    pair.write_text(json.dumps({"source": text, "target": text}) + "\n", encoding="utf-8")
    answer = json.loads(graft("evaluate", {"model": folder, "test_file": pair, "bf16": "false", "span_corruption": "false"}, "--json"))
    return [(answer["eval_loss"], float(model(input_ids=ids, labels=ids).loss))]


def check(counter, name, work, corpus):
    tokenizer_name, build, loads, options = CASES[name]
    start, folder = work / f"{name}-start", work / f"{name}-adapted"
    make(start, tokenizer_name, build)
    if name == "electra":
        options = {**options, "generator": make_generator(work / "generator", start)}
    graft("adapt", {"model": start, "corpus": corpus, "output_dir": folder, "max_steps": 4, "max_seq_length": 32, "learning_rate": 1e-3,
                    "near_duplicates": 2, "bf16": "false", **options})
    model, info = loads.from_pretrained(folder, output_loading_info=True)
    model.eval()
    problems = [f"missing: {sorted(info['missing_keys'])[:4]}"] if info["missing_keys"] else []
    if extra := [key for key in info["unexpected_keys"] if ".pooler." not in key]:
        problems.append(f"unexpected: {sorted(extra)[:4]}")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lines = corpus.read_text(encoding="utf-8").splitlines()[:50]
    ids = [line["input_ids"] for line in json_lines(graft("tokenize", {"model": folder, "input": corpus}))[:50]]
    if [tokenizer(line)["input_ids"] for line in lines] != ids:
        problems.append("the tokenizer gives other ids than graft")
    if "extend_vocabulary" in options:
        before = AutoTokenizer.from_pretrained(start)
        tokens = [sum(len(t(line)["input_ids"]) for line in lines) for t in (before, tokenizer)]
        if not tokens[1] < tokens[0]:
            problems.append(f"{tokens[1]} tokens with the new pieces, {tokens[0]} without")
    if name == "bert":
        missing = BertForSequenceClassification.from_pretrained(folder, output_loading_info=True)[1]["missing_keys"]  # a list in release 4
        if set(missing) - {"classifier.weight", "classifier.bias"}:
            problems.append("a classifier finds no pooler")
    if name == "electra":
        return problems + check_pair(counter, folder, model, tokenizer, work)
    for got, want in compare(name, folder, model, tokenizer, work):
        counter.difference(relative(got, want))
        counter.count("numbers")
        if not relative(got, want) <= TOLERANCE:
            problems.append(f"{got} and the reference {want}")
    return problems


def main(work):
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    work.mkdir(parents=True)
    corpus = write_corpus(work / "corpus.txt")
    with torch.no_grad():
        run_cases(f"transformers {transformers.__version__} loads adapted models", CASES,
                  lambda counter, name: check(counter, name, work, corpus))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
