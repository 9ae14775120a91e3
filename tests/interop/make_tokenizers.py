"""Makes the small tokenizers of tests/golden/tokenizers from the fixtures' lines, with the files that real ones have.

    .interop/4.57.6/bin/python3 tests/interop/make_tokenizers.py tests/golden/tokenizers
    .interop/5.24.0/bin/python3 tests/interop/make_tokenizer_golden.py tests/golden/tokenizers

4.57.6 still has the slow tokenizers that write and convert the older files.
"""
import json
import sys
from pathlib import Path

import sentencepiece
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from families import sentences

TEXTS = Path(__file__).resolve().parent.parent / "golden" / "tokenizers" / "texts.txt"
# A map for sentencepiece's normalizer, as its real ones: compatibility forms, white space, a deletion.
CHARSMAP = ["\uFB01\tfi", "\u2126\t\u03A9", "\u00A0\t ", "\u3000\t ", "\t\t ", "\u200B\t ", "\u00AD\t", "\uFF21\tA", "\uFF41\ta",
            "\u2460\t1", "\u00BD\t1\u20442", "e\u0301\t\u00E9", "\u30AB\u3099\t\u30AC", "\uFF76\t\u30AB", "\u2026\t..."]


def lines():
    fixture = TEXTS.read_bytes().decode().split("\n")
    return [line for line in fixture if line and "\0" not in line] * 2 + sentences(400, 2)


def bert(folder, name, lowercase):
    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words.train_from_iterator(lines(), trainers.WordPieceTrainer(vocab_size=1400, limit_alphabet=700, special_tokens=special))
    vocab = sorted(words.get_vocab().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token, _ in vocab), encoding="utf-8")
    slow = transformers.BertTokenizer(str(folder / "vocab.txt"), do_lower_case=lowercase, model_max_length=512)
    return transformers.BertTokenizerFast.from_pretrained(save(slow, folder), do_lower_case=lowercase), "bert"


def byte_bpe(folder, special):
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.train_from_iterator(lines(), trainers.BpeTrainer(
        vocab_size=900, special_tokens=special, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    bpe.model.save(str(folder))


def roberta(folder, name):
    byte_bpe(folder, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    slow = transformers.RobertaTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=512)
    return transformers.RobertaTokenizerFast.from_pretrained(save(slow, folder)), "roberta"


def gpt2(folder, name):
    byte_bpe(folder, ["<|endoftext|>"])
    slow = transformers.GPT2Tokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=1024)
    return transformers.GPT2TokenizerFast.from_pretrained(save(slow, folder)), "gpt2"


def sentencepiece_model(folder, name, **options):
    (folder / "rules.tsv").write_text("".join(
        "\t".join(" ".join(f"{ord(c):X}" for c in side) for side in rule.rsplit("\t", 1)) + "\n" for rule in CHARSMAP))
    (folder / "lines.txt").write_text("".join(f"{line}\n" for line in lines()), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "lines.txt"), model_prefix=str(folder / "spm"), vocab_size=700, character_coverage=0.98,
        normalization_rule_tsv=str(folder / "rules.tsv"), minloglevel=2, num_threads=1, **options)
    (folder / "spm.model").rename(folder / name)
    for extra in ("rules.tsv", "lines.txt", "spm.vocab"):
        (folder / extra).unlink()
    return str(folder / name)


def xlm_roberta(folder, name):
    slow = transformers.XLMRobertaTokenizer(sentencepiece_model(folder, "sentencepiece.bpe.model"), model_max_length=512)
    return transformers.XLMRobertaTokenizerFast.from_pretrained(save(slow, folder)), "xlm-roberta"


def t5(folder, name):
    model = sentencepiece_model(folder, "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    slow = transformers.T5Tokenizer(model, extra_ids=10, legacy=True, model_max_length=512)
    return transformers.T5TokenizerFast.from_pretrained(save(slow, folder)), "t5"


def llama(folder, name):
    """Byte-fallback BPE over pieces that begin with U+2581."""
    bpe = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    bpe.train_from_iterator(lines(), trainers.BpeTrainer(vocab_size=1100, limit_alphabet=400, special_tokens=special,
                                                         max_token_length=16))
    state = json.loads(bpe.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["id"] < 3]
    bpe = Tokenizer.from_str(json.dumps(state))
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                     decoders.Strip(" ", 1, 0)])
    bpe.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", 1)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
                                                model_max_length=2048), "llama"


def modernbert(folder, name):
    """Byte-level BPE with a normalizer, BERT's special tokens and added tokens that strip."""
    bpe = Tokenizer(models.BPE(unk_token=None))
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<|padding|>", "[UNK]", "[CLS]", "[SEP]", "[PAD]", AddedToken("[MASK]", lstrip=True, special=True)]
    bpe.train_from_iterator(lines(), trainers.BpeTrainer(
        vocab_size=900, special_tokens=special, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    bpe.add_tokens([AddedToken(" " * n, normalized=True) for n in (4, 3, 2)])
    bpe.decoder = decoders.ByteLevel()
    ids = {token: bpe.token_to_id(token) for token in ("[CLS]", "[SEP]")}
    bpe.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                       special_tokens=list(ids.items()))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", mask_token="[MASK]",
        model_max_length=8192), "modernbert"


def as_published(file):
    """The components that the published files have and 5.24 makes; 4.57's conversion differs in offsets."""
    state = json.loads(file.read_text(encoding="utf-8"))
    state["normalizer"] = next(part for part in state["normalizer"]["normalizers"] if part["type"] == "Precompiled")
    state["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, state["pre_tokenizer"]]}
    file.write_text(json.dumps(state, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def save(slow, folder):
    slow.save_pretrained(folder)
    return folder


def main(root):
    made = {"small-bert-uncased": lambda *a: bert(*a, True), "small-bert-cased": lambda *a: bert(*a, False),
            "small-roberta": roberta, "small-gpt2": gpt2, "small-xlm-roberta": xlm_roberta, "small-t5": t5,
            "small-llama": llama, "small-modernbert": modernbert}
    for name, make in made.items():
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer, family = make(folder, name)
        tokenizer.save_pretrained(folder)
        if family in ("xlm-roberta", "t5"):
            as_published(folder / "tokenizer.json")
        (folder / "config.json").write_text(json.dumps({"model_type": family}) + "\n")
        print(name, len(tokenizer), sum(path.stat().st_size for path in folder.iterdir()), "bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
