"""Folders that graft trained and saved, loaded with the release that runs this: nothing missing, nothing left over, equal answers.

    <environment>/bin/python3 check_loading.py TRAINED
"""
import json
import sys
from pathlib import Path

import torch
import transformers
from transformers import AutoTokenizer

import families
from common import TOLERANCE, Counter, worst_difference


def ids_of(folder, texts):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [tokenizer(text)["input_ids"] for text in texts]


def check_tokenizer(counter, trained, folder, expected):
    """What graft saved reads as the source folder does; with the release that made the source, as graft reads it."""
    try:
        original = ids_of(expected["source"], expected["texts"])
    except (AttributeError, ValueError):  # 4.57 cannot read every folder of 5.24
        if expected["layout"] != "generic":
            counter.count("tokenizers that this release cannot read in the reference's own folder")
            return []
        original = expected["ids"]
    ids = ids_of(folder, expected["texts"])
    problems = []
    if ids != original:
        problems.append("the tokenizer that graft saved gives other ids than the one of the source folder")
    if folder.relative_to(trained).parts[0] == transformers.__version__ and ids != expected["ids"]:
        problems.append("ids differ from graft's")
    return problems


def check(counter, trained, folder, expected):
    head = expected["head"]
    model, info = families.HEADS[head][0].from_pretrained(folder, output_loading_info=True)
    problems = [f"{kind}: {sorted(map(str, found))[:4]}" for kind, found in info.items() if found]
    wrong = {str(parameter.dtype) for parameter in model.parameters() if parameter.dtype != torch.float32}
    if wrong:
        problems.append(f"loaded as {', '.join(sorted(wrong))}")
    if type(model).__name__ != expected["model_class"]:
        problems.append(f"loaded as {type(model).__name__}, trained as {expected['model_class']}")
    problems += check_tokenizer(counter, trained, folder, expected)
    # Another release may read the same tokenizer files differently: the model gets graft's ids.
    answers = [families.answer(model.float().eval(), head, expected["mask_id"], input_ids=torch.tensor([ids]))
               for ids in expected["ids"]]
    difference = worst_difference(answers, expected["probabilities"])
    counter.difference(difference)
    if not difference <= TOLERANCE:
        problems.append(f"probabilities differ by {difference:.3g}")
    counter.count("answers", len(answers))
    return problems


def main(trained):
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    counter = Counter(f"transformers {transformers.__version__} loads graft's folders")
    for record in sorted(trained.rglob("*.graft.json")):
        folder = record.with_name(record.name.removesuffix(".graft.json"))
        expected = json.loads(record.read_text())
        try:
            problems = check(counter, trained, folder, expected)
        except Exception as error:  # whatever the reference throws is the finding
            problems = [f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"]
        counter.case(str(folder.relative_to(trained)), problems)
        counter.count("folders")
    counter.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
