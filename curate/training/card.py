"""The model card of an Aligner: made of what `aligner.json` tells, counted or measured, with no text of its data."""

import json
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
license: unknown
{base_model}tags:
- aligner
- alignment
---

# An Aligner from {base}

It reads a question and an answer, and writes a better answer; one that is good already it writes again.

| | |
| --- | --- |
| base | {base} |
{parent}| licence | {licence} |
| parameters | {parameters} |
| learned from | release {version} of {name}, {rows} rows, {train} of them for training |
| content root | `{content_root}` |
| template | {template_name}, version {template_version}, id `{template_id}` |

What it reads, letter by letter:

{template}

## Training

| phase | rows | steps | last loss | held-out loss at each evaluation |
| --- | --- | --- | --- | --- |
{phases}

Losses are means in nats per token of the target. {too_long} of the release's training rows were longer than
`max_tokens` and left out. Settings:

| | |
| --- | --- |
{settings}

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
messages = [
    {"role": "user", "content": "How tall is the tower?"},
    {"role": "assistant", "content": "It is 421 feet tall."},
]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
ids = model.generate(**inputs, max_new_tokens=512)
print(tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```
{no_chat}
The last two messages are the question and its answer; earlier turns of user and assistant may stand before them. A
pipeline of transformers needs `continue_final_message=False`.

```sh
curate correct answers.jsonl corrected.jsonl --aligner .
curate serve --aligner . --upstream http://127.0.0.1:8000/v1
vllm serve . --override-generation-config '{"temperature": 0}'
```

`curate` writes marks of the template inside texts another way, and back in the correction; whoever asks the model by
other means gets them as it wrote them (`&#65;SSISTANT:` is `ASSISTANT:`).

The data set holds unsafe requests on purpose, and model output can be wrong or offensive.
"""
LICENCE = {
    True: "not known here: it follows that of the base, which says it where it was published",
    False: "none was chosen yet",
}
NO_CHAT = """
These lines, and chats with a server, need a chat template, and with this tokenizer none gives the ids of training. Use
`curate`, or put question and answer into the template and BOS before its ids where the tokenizer has one.
"""


def card(told: Mapping[str, Any], *, has_chat_template: bool) -> str:
    """The README.md. told: what `aligner.json` holds."""
    template, release, base = told["template"], told["release"], told["base"]
    fills = {
        "base_model": f"base_model: {json.dumps(base)}\n" if _is_on_hub(base, is_local=told["is_local_base"]) else "",
        "base": _base(base, is_local=told["is_local_base"]),
        "parent": _parent(told["parent"]) if "parent" in told else "",
        "licence": LICENCE[base is not None],
        "parameters": f"{told['parameters']:,}",
        "version": release["version"],
        "name": _cell(release["name"]),
        "rows": f"{release['rows']:,}",
        "train": f"{release['splits']['train']:,}",
        "content_root": release["content_root"],
        "template_name": _cell(template["name"]),
        "template_version": str(template["version"]),
        "template_id": template["template_id"],
        "template": _fenced(template["text"]),
        "phases": "\n".join(_phase(name, figures) for name, figures in told["metrics"].items()),
        "too_long": f"{told['too_long']:,}",
        "settings": "\n".join(f"| {name} | {_cell(json.dumps(one))} |" for name, one in told["settings"].items()),
        "no_chat": "" if has_chat_template else NO_CHAT,
    }
    return re.sub(r"\{(\w+)\}", lambda found: fills[found[1]], CARD)


def _phase(name: str, figures: Mapping[str, Any]) -> str:
    held_out = ", ".join(f"{loss:.4f}" for loss in figures["held_out_losses"]) or "not measured"
    return f"| {name} | {figures['rows']:,} | {figures['steps']:,} | {figures['last_loss']:.4f} | {held_out} |"


def _is_on_hub(base: str | None, *, is_local: bool) -> bool:
    return base is not None and not is_local and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", base, re.ASCII) is not None


def _base(base: str | None, *, is_local: bool) -> str:
    """A folder by its name alone: where it lay is nobody's matter."""
    if base is None:
        return "scratch"
    return f"the local folder {_cell(PurePath(base).name)}" if is_local else _cell(base)


def _parent(parent: Mapping[str, Any]) -> str:
    release = parent["release"]
    learned = f", which learned from release {release['version']} of {_cell(release['name'])}" if release else ""
    return f"| goes on from | the Aligner `{parent['aligner_id']}`{learned} |\n"


def _fenced(text: str) -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def _cell(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", " ".join(plain.split())).replace("<", "&lt;")
