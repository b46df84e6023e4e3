"""A release as other trainers read it: the columns of their JSON lines, and the file by which they find them.

TRL takes prompt and completion, tokenises them as one text and adds BOS and EOS itself. axolotl (`input_output`) and
LLaMA-Factory (template `empty`) tokenise them apart and add nothing: BOS and EOS stand in the texts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import polars as pl


class Trainer(StrEnum):
    """Trainers of other teams."""

    TRL = "trl"
    AXOLOTL = "axolotl"
    LLAMA_FACTORY = "llama-factory"


@dataclass(frozen=True, slots=True)
class Ends:
    """How the base's tokenizer spells BOS and EOS; "" where it has none, or none is written."""

    bos: str = ""
    eos: str = ""

    def guarded(self, text: pl.Expr) -> pl.Expr:
        """The text with `</s>` as `&#60;/s>`, as in the chat template: the trainers would read the token."""
        for spelled in sorted({self.bos.strip(), self.eos.strip()} - {""}, key=len, reverse=True):
            text = text.str.replace_all(spelled, f"&#{ord(spelled[0])};{spelled[1:]}", literal=True)
        return text


def rows(rendered: pl.DataFrame, trainer: Trainer, ends: Ends) -> pl.DataFrame:
    """What one trainer reads. rendered: triple_id, prompt and completion, as the template writes them."""
    prompt, completion = (ends.guarded(pl.col(name)) for name in ("prompt", "completion"))
    if trainer is Trainer.TRL:
        return rendered.select("triple_id", prompt, completion)
    prompt, completion = (
        (pl.lit(ends.bos) + prompt).alias("prompt"),
        (completion + pl.lit(ends.eos)).alias("completion"),
    )
    if trainer is Trainer.LLAMA_FACTORY:
        return rendered.select("triple_id", prompt, completion)
    segments = [
        pl.struct(pl.lit(is_learned).alias("label"), text.alias("text"))
        for is_learned, text in ((False, prompt), (True, completion))
    ]
    return rendered.select("triple_id", pl.concat_list(segments).alias("segments"))


def beside(trainer: Trainer, splits: Sequence[str]) -> dict[str, str]:
    """The files by which a trainer finds the splits, by name."""
    if trainer is Trainer.AXOLOTL:
        return {"axolotl.yaml": _axolotl(splits)}
    if trainer is Trainer.LLAMA_FACTORY:
        columns = {"prompt": "prompt", "response": "completion"}
        told = {f"aligner_{split}": {"file_name": f"{split}.jsonl", "columns": columns} for split in splits}
        return {"dataset_info.json": json.dumps(told, indent=2) + "\n"}
    return {}


def _axolotl(splits: Sequence[str]) -> str:
    lines = ["# Part of a configuration of axolotl, which is run in this folder: else put the folder before each path."]
    for key, split in (("datasets", "train"), ("test_datasets", "validation")):
        if split in splits:
            lines += [f"{key}:", f"  - path: {split}.jsonl", "    ds_type: json", "    type: input_output"]
            lines += ["    split: train"]
    lines += ["train_on_inputs: false", "excess_length_strategy: raise"]
    return "\n".join(lines) + "\n"
