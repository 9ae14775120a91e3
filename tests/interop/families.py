"""The model families of the interop checks: a row each, with tiny random models and tokenizers made by the reference.

A new family is a row of FAMILIES (with "heads" where they are not an encoder's). Runs inside an environment of pins.toml.
"""
import json
import random

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM,
                          AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer)

LABELS = ["alpha", "beta", "gamma"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
T5_SIZES = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
            "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12, "decoder_start_token_id": 0}
ENCODER_HEADS = ["single", "multi", "regression", "mlm", "mlm-untied"]
# tokenizer: a function of this file. config: the fields that differ from the class's defaults. heads: default ENCODER_HEADS.
# spread: of the random weights. T5 does not scale its scores, ModernBERT has four layers: with 0.25 its softmax is so steep that thirty steps amplify rounding.
FAMILIES = {
    "bert": {"tokenizer": "wordpiece", "class": "BertTokenizer",
             "config": {**SIZES, "max_position_embeddings": 64}},
    "roberta": {"tokenizer": "byte_bpe", "class": "RobertaTokenizer",
                "config": {**SIZES, "max_position_embeddings": 66, "type_vocab_size": 1}},
    "xlm-roberta": {"tokenizer": "unigram", "class": "XLMRobertaTokenizer",
                    "config": {**SIZES, "max_position_embeddings": 66, "type_vocab_size": 1}},
    "camembert": {"tokenizer": "unigram", "class": "CamembertTokenizer",
                  "config": {**SIZES, "max_position_embeddings": 66, "type_vocab_size": 1}},
    "data2vec-text": {"tokenizer": "byte_bpe", "class": "RobertaTokenizer", "heads": ["single", "mlm", "mlm-untied"],
                      "config": {**SIZES, "max_position_embeddings": 66, "type_vocab_size": 1}},
    "distilbert": {"tokenizer": "wordpiece", "class": "DistilBertTokenizer",
                   "config": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 64}},
    "modernbert": {"tokenizer": "modern_bpe", "class": "PreTrainedTokenizerFast",
                   "config": {**SIZES, "num_hidden_layers": 4, "local_attention": 6, "max_position_embeddings": 64},
                   "spread": 0.12},
    "mpnet": {"tokenizer": "mpnet_wordpiece", "class": "MPNetTokenizer", "config": {**SIZES, "max_position_embeddings": 66}},
    "deberta-v2": {"tokenizer": "wordpiece", "class": "BertTokenizer",
                   "config": {**SIZES, "max_position_embeddings": 64, "relative_attention": True, "position_buckets": 8,
                              "pos_att_type": ["p2c", "c2p"], "share_att_key": True, "norm_rel_ebd": "layer_norm",
                              "position_biased_input": False}},
    "electra": {"tokenizer": "wordpiece", "class": "ElectraTokenizer",
                "config": {**SIZES, "embedding_size": 16, "max_position_embeddings": 64}},
    "albert": {"tokenizer": "albert_unigram", "class": "AlbertTokenizer",
               "config": {**SIZES, "num_hidden_layers": 3, "num_hidden_groups": 2, "embedding_size": 16,
                          "max_position_embeddings": 64}},
    "gpt2": {"tokenizer": "gpt2_bpe", "class": "GPT2Tokenizer",
             "heads": ["single", "multi", "regression", "clm", "clm-untied"],
             "config": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48, "n_positions": 64}},
    "t5": {"tokenizer": "t5_unigram", "class": "T5Tokenizer", "heads": ["single", "multi", "regression", "s2s", "s2s-untied"],
           "config": {**T5_SIZES, "feed_forward_proj": "relu"}, "spread": 0.12},
    "mt5": {"tokenizer": "t5_unigram", "class": "T5Tokenizer", "heads": ["single", "s2s-untied"], "config": T5_SIZES, "spread": 0.12},
}
# head -> (class, config fields)
HEADS = {
    "single": (AutoModelForSequenceClassification, {"problem_type": "single_label_classification"}),
    "multi": (AutoModelForSequenceClassification, {"problem_type": "multi_label_classification"}),
    "regression": (AutoModelForSequenceClassification, {"problem_type": "regression"}),
    "tokens": (AutoModelForTokenClassification, {}),  # of check_tokens.py
    "mlm": (AutoModelForMaskedLM, {}),
    "mlm-untied": (AutoModelForMaskedLM, {"tie_word_embeddings": False}),
    "clm": (AutoModelForCausalLM, {}),
    "clm-untied": (AutoModelForCausalLM, {"tie_word_embeddings": False}),
    "s2s": (AutoModelForSeq2SeqLM, {}),
    "s2s-untied": (AutoModelForSeq2SeqLM, {"tie_word_embeddings": False}),
}

WORDS = ("the a film plot story actor scene ending music director was is felt very quite never fine dull bright slow clever "
         "noisy warm empty lovely boring and but with without café naïve über 東京 映画 фильм скучный 123 4.5 don't").split()
MARKS = [".", "!", "?", ", they said.", " ...", " (really)", ""]


def heads_of(family):
    return FAMILIES[family].get("heads", ENCODER_HEADS)


def sentences(n, seed):
    """Deterministic lines of 1 to 14 words with punctuation."""
    draw = random.Random(seed)
    return [" ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 14))) + draw.choice(MARKS) for _ in range(n)]


def wordpiece(folder, special=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")):
    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words.train_from_iterator(sentences(300, 1), trainers.WordPieceTrainer(vocab_size=220, special_tokens=list(special)))
    vocab = sorted(words.get_vocab().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token, _ in vocab), encoding="utf-8")


def mpnet_wordpiece(folder):
    wordpiece(folder, ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"])


def byte_bpe(folder, special=("<s>", "<pad>", "</s>", "<unk>", "<mask>")):
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.train_from_iterator(sentences(300, 1), trainers.BpeTrainer(
        vocab_size=340, special_tokens=list(special), initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    bpe.model.save(str(folder))


def modern_bpe(folder):
    byte_bpe(folder, ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"])
    bpe = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    bpe.normalizer, bpe.decoder = normalizers.NFC(), decoders.ByteLevel()
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.add_special_tokens(["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"])
    bpe.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 2)])
    bpe.save(str(folder / "tokenizer.json"))
    (folder / "vocab.json").unlink()
    (folder / "merges.txt").unlink()


def gpt2_bpe(folder):
    byte_bpe(folder, ["<|endoftext|>"])


def unigram(folder):
    pieces = Tokenizer(models.Unigram())
    pieces.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
    pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces.train_from_iterator(sentences(300, 1), trainers.UnigramTrainer(
        vocab_size=200, special_tokens=special, unk_token="<unk>"))
    pieces.add_special_tokens(["<mask>"])
    pieces.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    pieces.save(str(folder / "tokenizer.json"))


def albert_unigram(folder):
    pieces = Tokenizer(models.Unigram())
    pieces.normalizer = normalizers.Sequence([
        normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents(),
        normalizers.Lowercase(), normalizers.Replace(Regex(" {2,}"), " ")])
    pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    pieces.train_from_iterator(sentences(300, 1), trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], unk_token="<unk>"))
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    pieces.save(str(folder / "tokenizer.json"))


def t5_unigram(folder):
    pieces = Tokenizer(models.Unigram())
    pieces.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
    pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    pieces.train_from_iterator(sentences(300, 1), trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"))
    pieces.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    pieces.save(str(folder / "tokenizer.json"))


def make_tokenizer(family, folder):
    """Writes the family's own vocabulary files and returns the tokenizer that this release reads from them."""
    folder.mkdir(parents=True, exist_ok=True)
    globals()[FAMILIES[family]["tokenizer"]](folder)
    special = {"unigram": {"mask_token": "<mask>"}, "modern_bpe": {
                   "cls_token": "[CLS]", "pad_token": "[PAD]", "sep_token": "[SEP]", "unk_token": "[UNK]", "mask_token": "[MASK]",
                   "model_input_names": ["input_ids", "attention_mask"]},
               "gpt2_bpe": {"pad_token": "<|endoftext|>"}, "t5_unigram": {"extra_ids": 0}}.get(FAMILIES[family]["tokenizer"], {})
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": FAMILIES[family]["class"], "model_max_length": 64, **special}))
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    return AutoTokenizer.from_pretrained(folder)


def make_model(family, head, tokenizer, seed=0, **fields):
    """A model with large random weights, so that a wrong term shows."""
    torch.manual_seed(seed)
    special = {name: getattr(tokenizer, f"{name}_token_id", None) for name in ("pad", "bos", "eos")}
    config = AutoConfig.for_model(family, vocab_size=len(tokenizer), **FAMILIES[family]["config"], **HEADS[head][1],
                                  **{f"{name}_token_id": value for name, value in special.items() if value is not None},
                                  **fields)
    if head in ("single", "multi"):
        config.id2label = dict(enumerate(LABELS))
        config.label2id = {label: i for i, label in enumerate(LABELS)}
    elif head == "regression":
        config.num_labels = 1
    model = HEADS[head][0].from_config(config).eval()
    spread = FAMILIES[family].get("spread", 0.25)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            is_norm = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.1 * noise if is_norm else (spread if parameter.ndim > 1 else 0.1) * noise)
    return model


def answer(model, head, mask_id, **inputs):
    """Of one text: [label] as the program shows them; masked-lm: [vocabulary] at the first mask; causal-lm: [loss of a token];
    seq2seq-lm: [loss of a token] of the text written again."""
    with torch.no_grad():
        if head.startswith("s2s"):
            return [model(**inputs, labels=inputs["input_ids"]).loss.item()]
        logits = model(**inputs).logits[0].float()
    if head.startswith("mlm"):
        return logits[(inputs["input_ids"][0] == mask_id).nonzero()[0, 0]].softmax(-1).tolist()
    if head.startswith("clm"):
        return [torch.nn.functional.cross_entropy(logits[:-1], inputs["input_ids"][0, 1:]).item()]
    return {"single": logits.softmax(-1), "multi": logits.sigmoid(), "regression": logits}[head].tolist()


def probabilities(model, head, tokenizer, texts, pairs=None):
    """The answers to all texts, or to pairs of texts."""
    # The AlbertTokenizer of 5.24 leaves the types of a pair out unless they are asked for; that of 4.57 and graft have them.
    types = {"return_token_type_ids": True} if getattr(model.config, "type_vocab_size", 0) == 2 else {}
    encoded = [tokenizer(text, *([pairs[i]] if pairs else []), return_tensors="pt", truncation=True, max_length=64, **types)
               for i, text in enumerate(texts)]
    return [answer(model, head, tokenizer.mask_token_id, **inputs) for inputs in encoded]


def continuations(model, tokenizer, prompts, **settings):
    """[prompt and continuation, score] of each prompt; the score of a greedy one is None."""
    out = []
    for prompt in prompts:
        inputs = tokenizer(prompt, return_tensors="pt")
        with torch.no_grad():
            found = model.generate(**inputs, do_sample=False, return_dict_in_generate=True, output_scores=True, **settings)
        scores = getattr(found, "sequences_scores", None)
        out.append([tokenizer.decode(found.sequences[0], skip_special_tokens=True, clean_up_tokenization_spaces=False),
                    None if scores is None else scores[0].item()])
    return out
