"""Embeddings, losses and saved folders of graft against sentence-transformers.

    <environment>/bin/python3 check_embeddings.py WORK
"""
import csv
import json
import os
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import AutoConfig, AutoModel, AutoTokenizer, T5EncoderModel

from common import PROJECT, TOLERANCE, Counter, graft, json_lines, relative, worst_difference

torch.set_num_threads(1)
TOKENIZER = PROJECT / "tests" / "golden" / "tokenizers" / "small-bert-uncased"
FAMILIES = ["roberta", "xlm-roberta", "camembert", "distilbert", "mpnet", "electra", "albert", "modernbert", "t5", "deberta-v2"]
POOLINGS = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
TEXTS = ["That is a happy person", "hello", "A much longer sentence, with more words in it than the others have, so that lengths are mixed.",
         "123 + 4 = 127!", "Ünïcode straße", "the film was not good"]
ROWS = [("a man eats food", "a man is eating"), ("the girl plays", "someone plays an instrument"), ("it rains today", "the weather is wet"),
        ("a dog runs", "a cat sleeps"), ("prices fall", "markets go down")]
NEGATIVES = ["a man sleeps", "a girl eats", "it is sunny", "birds fly", "the team won"]
SCORES = [0.9, 0.7, 0.8, 0.1, 0.9]
# Of each: --loss, the loss, which columns it reads, further options.
LOSSES = [
    ("MultipleNegativesRankingLoss", losses.MultipleNegativesRankingLoss, "pairs", {}),
    ("MultipleNegativesRankingLoss", losses.MultipleNegativesRankingLoss, "triplets", {}),
    ("MultipleNegativesSymmetricRankingLoss", losses.MultipleNegativesSymmetricRankingLoss, "pairs", {}),
    ("MultipleNegativesSymmetricRankingLoss", losses.MultipleNegativesSymmetricRankingLoss, "triplets", {}),
    ("CoSENTLoss", losses.CoSENTLoss, "scores", {}),
    ("CosineSimilarityLoss", losses.CosineSimilarityLoss, "scores", {}),
    ("TripletLoss", losses.TripletLoss, "triplets", {}),
    ("TripletLoss", lambda m: losses.TripletLoss(m, distance_metric=losses.TripletDistanceMetric.COSINE, triplet_margin=0.5), "triplets",
     {"distance_metric": "cosine", "triplet_margin": 0.5}),
]


def make_folder(folder):
    """A tiny sentence encoder that sentence-transformers saved."""
    backbone = folder.parent / "backbone"
    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    config = AutoConfig.for_model("bert", vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                                  intermediate_size=48, max_position_embeddings=40, initializer_range=0.2,
                                  hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    AutoModel.from_config(config).save_pretrained(backbone)
    tokenizer.save_pretrained(backbone)
    model = SentenceTransformer(str(backbone), device="cpu")
    model.max_seq_length = 24
    model.save(str(folder))
    return model


def embed(folder, **options):
    lines = graft("embed", {"model": folder, **options}, stdin="\n".join(TEXTS) + "\n")
    return [line["embedding"] for line in json_lines(lines)]


def check_embeddings(counter, model, folder):
    for pooling in POOLINGS:
        model[1] = Pooling(32, pooling)
        for normalize in (False, True):
            want = model.encode(TEXTS, normalize_embeddings=normalize).tolist()
            difference = worst_difference(embed(folder, pooling=pooling, normalize=normalize), want)
            counter.difference(difference)
            counter.count("embeddings", len(TEXTS))
            counter.case(f"{pooling}, normalize {normalize}", [f"differs by {difference}"] if difference > TOLERANCE else [])
    model[1] = Pooling(32, "mean")


def columns_of(kind):
    header, rows = ["anchor", "positive"], [list(row) for row in ROWS]
    if kind == "triplets":
        header, rows = header + ["negative"], [[*row, text] for row, text in zip(ROWS, NEGATIVES)]
    if kind == "scores":
        header, rows = ["sentence1", "sentence2", "score"], [[*row, score] for row, score in zip(ROWS, SCORES)]
    return header, rows


def check_loss(counter, work, model, folder, case):
    """The loss of one batch, in evaluation and in a step, and the norm of the step's gradients."""
    name, make, kind, options = case
    header, rows = columns_of(kind)
    data, out = work / "data.csv", work / f"out-{counter.passed + counter.failed}"
    with open(data, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    graft("train", {"model": folder, "task": "sentence-embedding", "loss": name, "train_file": data, "validation_file": data,
                    "output_dir": out, "max_steps": 1, "learning_rate": 0, "bf16": "false", "logging_steps": 1, **options})
    results, log = json.loads((out / "all_results.json").read_text()), json.loads((out / "trainer_state.json").read_text())["log_history"]
    texts = [list(column) for column in zip(*rows)][: 3 if kind == "triplets" else 2]
    model.eval()
    model.zero_grad()
    loss = make(model)([dict(model.preprocess(column)) for column in texts], torch.tensor(SCORES) if kind == "scores" else None)
    loss.backward()
    norm = torch.sqrt(sum((p.grad ** 2).sum() for p in model.parameters() if p.grad is not None)).item()
    problems = []
    for what, got, want in (("loss", results["eval_loss"], loss.item()), ("loss of the step", log[0]["loss"], loss.item()),
                            ("norm of the gradients", log[0]["grad_norm"], norm)):
        difference = relative(got, want)
        counter.difference(difference)
        counter.count("losses and norms")
        if difference > TOLERANCE:
            problems.append(f"{what}: {got} instead of {want}")
    counter.case(f"{name} on {kind} {options}", problems)
    return out


def check_same(counter, folder, max_seq_length=None):
    """Equal embeddings of a folder in both programs."""
    model = SentenceTransformer(str(folder), device="cpu")
    difference = worst_difference(embed(folder), model.encode(TEXTS).tolist())
    counter.difference(difference)
    counter.count("folders")
    problems = [f"differs by {difference}"] if difference > TOLERANCE else []
    if max_seq_length and model.max_seq_length != max_seq_length:
        problems.append(f"max_seq_length {model.max_seq_length} instead of {max_seq_length}")
    counter.case(folder.name, problems)


def check_saved(counter, folder):
    """What graft saved is a folder of sentence-transformers."""
    check_same(counter, folder, 24)


def check_cross_encoder(counter, work, folder):
    """A pair's score after training with the reference's sigmoid, and the order of candidates."""
    data, saved, queries = work / "scores.csv", work / "cross-encoder", work / "queries.jsonl"
    with open(data, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["sentence1", "sentence2", "label"], *([*row, score] for row, score in zip(ROWS, SCORES))])
    graft("train", {"model": folder, "loss": "BinaryCrossEntropyLoss", "train_file": data, "output_dir": saved, "max_steps": 3,
                    "learning_rate": 1e-3, "bf16": "false"})
    queries.write_text(json.dumps({"query": ROWS[0][0], "candidates": TEXTS}) + "\n")
    got = json_lines(graft("predict", {"model": saved, "input": queries}))[0]["candidates"]
    want = CrossEncoder(str(saved), device="cpu").rank(ROWS[0][0], TEXTS)
    difference = worst_difference([c["score"] for c in got], [float(c["score"]) for c in want])
    counter.difference(difference)
    counter.count("scores of candidates", len(got))
    problems = [f"scores differ by {difference}"] if difference > TOLERANCE else []
    if [c["corpus_id"] for c in got] != [c["corpus_id"] for c in want]:
        problems.append("the candidates have another order")
    counter.case("cross-encoder", problems)


def check_families(counter, work):
    """The bare encoder of each family, and what graft saves after two steps of training it."""
    data = work / "pairs.csv"
    data.write_text("anchor,positive\nthe film,good film\na person,happy person\nhello,hi there\n")
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    other = {"distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
             "modernbert": {**sizes, "global_attn_every_n_layers": 2, "local_attention": 8, "cls_token_id": 2, "sep_token_id": 3},
             "deberta-v2": {**sizes, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16, "share_att_key": True,
                            "norm_rel_ebd": "layer_norm", "type_vocab_size": 0},
             "electra": {**sizes, "embedding_size": 16}, "albert": {**sizes, "embedding_size": 16},
             "t5": {"d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 64, "num_layers": 2, "eos_token_id": 3}}
    for family in FAMILIES:
        torch.manual_seed(0)
        folder, saved = work / family, work / f"{family}-saved"
        config = AutoConfig.for_model(family, vocab_size=len(tokenizer), max_position_embeddings=60, initializer_range=0.2, pad_token_id=0,
                                      **other.get(family, sizes))
        (T5EncoderModel(config) if family == "t5" else AutoModel.from_config(config)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        graft("train", {"model": folder, "task": "sentence-embedding", "train_file": data, "output_dir": saved, "max_steps": 2,
                        "learning_rate": 1e-3, "max_seq_length": 24, "bf16": "false"})
        check_same(counter, folder)
        check_saved(counter, saved)


# How encoders that people reach for are published: the family, the pooling, whether a Normalize module follows, the prompts.
PUBLISHED = {"like BGE": ("bert", "cls", True, {"query": "Represent this sentence for searching relevant passages: ", "document": ""}),
             "like E5": ("xlm-roberta", "mean", True, {"query": "query: ", "passage": "passage: "}),
             "like GTE": ("modernbert", "cls", False, {})}


def check_published(counter, work):
    """Folders of sentence-transformers in the published layouts, whole: pooling, normalisation, prompts; and after training."""
    data = work / "pairs.csv"
    for name, (family, pooling, normalized, prompts) in PUBLISHED.items():
        folder, saved = work / name.replace(" ", "-"), work / f"{name.replace(' ', '-')}-saved"
        backbone = Transformer(str(work / ("backbone" if family == "bert" else family)))
        backbone.max_seq_length = 24
        modules = [backbone, Pooling(32, pooling), *([Normalize()] if normalized else [])]
        SentenceTransformer(modules=modules, prompts=prompts, device="cpu").save(str(folder))
        check_same(counter, folder, 24)
        for prompt in prompts:
            want = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, prompt_name=prompt).tolist()
            difference = worst_difference(embed(folder, prompt_name=prompt), want)
            counter.difference(difference)
            counter.case(f"{name}, prompt {prompt}", [f"differs by {difference}"] if difference > TOLERANCE else [])
        graft("train", {"model": folder, "task": "sentence-embedding", "train_file": data, "output_dir": saved, "max_steps": 2,
                        "learning_rate": 1e-3, "bf16": "false"})
        check_same(counter, saved, 24)


def check_real(counter, folder):
    """A real encoder on several languages, in fp32: models/graft-mini, whose weights have 16 bits, and the folders of GRAFT_ENCODERS."""
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    texts = [*TEXTS, "Das Essen war wunderbar.", "Le livre est ennuyeux.", "No volvería nunca.", "Non era male.", "Não gostei.", "Очень хорошо.",
             "服务很好。"]
    lines = graft("embed", {"model": folder, "bf16": "false"}, stdin="\n".join(texts) + "\n")
    difference = worst_difference([line["embedding"] for line in json_lines(lines)], model.encode(texts).tolist())
    counter.difference(difference)
    counter.count("embeddings", len(texts))
    counter.case(folder.name, [f"differs by {difference}"] if difference > TOLERANCE else [])


def main():
    work = Path(sys.argv[1])
    work.mkdir(parents=True, exist_ok=True)
    counter, folder = Counter("sentence-transformers"), work / "encoder"
    model = make_folder(folder)
    check_embeddings(counter, model, folder)
    saved = [check_loss(counter, work, model, folder, case) for case in LOSSES]
    check_saved(counter, saved[0])
    check_families(counter, work)
    check_published(counter, work)
    for real in [PROJECT / "models" / "graft-mini", *map(Path, os.environ.get("GRAFT_ENCODERS", "").split())]:
        check_real(counter, real)
    check_cross_encoder(counter, work, folder)
    counter.finish()


main()
