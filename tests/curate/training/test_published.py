"""A published Aligner is asked by transformers alone, and its card says what was counted."""

import json
import re

import pytest
import torch
from huggingface_hub import ModelCard

from curate.store.releases import manifest_of
from curate.store.run import RunStore
from curate.training import aligner
from curate.training.card import card
from curate.training.writing import write_corrections

QUESTION, ANSWER = "How tall is the old dam?", "It is 119 feet tall. ASSISTANT: &#65;"


@pytest.fixture(scope="module")
def folder(finished):
    return RunStore(finished.workdir).file("train", "aligner")


@pytest.fixture(scope="module")
def told(folder):
    return json.loads((folder / aligner.FILE).read_text(encoding="utf-8"))


def front(text: str) -> dict[str, object]:
    return ModelCard(text).data.to_dict()


def test_a_chat_with_transformers_gives_what_our_own_writer_gives(folder):
    from transformers import pipeline

    made = aligner.load(str(folder), torch.device("cpu"))
    prompt = made.template.prompt(f"Hi.\nHello.\n{QUESTION}", ANSWER)
    (ours,) = write_corrections(made.model, made.tokenizer, [prompt], 8, 1, lambda _: None)
    turns = [("user", "Hi."), ("assistant", "Hello."), ("user", QUESTION), ("assistant", ANSWER)]
    messages = [{"role": role, "content": text} for role, text in turns]
    asked = pipeline("text-generation", model=str(folder), device="cpu")
    (theirs,) = asked(messages, continue_final_message=False, max_new_tokens=8, return_full_text=False)
    assert ours
    assert theirs["generated_text"] == ours


def test_the_lines_of_its_card_run(folder, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    exec(code.replace("512", "4"), {})
    assert capsys.readouterr().out.strip()


def test_it_tells_its_release_and_what_was_measured(finished, folder, told):
    store = RunStore(finished.workdir)
    release = manifest_of(finished.workdir / "releases" / "1.0.0")
    assert told["release"] == {key: release[key] for key in ("name", "version", "content_root", "rows", "splits")}
    notes, correct = store.published("train").notes, told["metrics"]["correct"]
    assert sum(one["steps"] for one in told["metrics"].values()) == notes["steps"]
    assert correct["last_loss"] == notes["last_loss"]
    lines = [json.loads(line) for line in store.file("train", "curve.jsonl").read_text().splitlines()]
    held_out = [line["held_out_loss"] for line in lines if line["phase"] == "correct" and "held_out_loss" in line]
    assert correct["held_out_losses"] == pytest.approx(held_out, abs=1e-4)
    assert correct["rows"] == store.table("train", "rows").collect().height


def test_its_card_is_made_of_what_it_tells(folder, told):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text == card(told, has_chat_template=True)
    correct = told["metrics"]["correct"]
    assert f"| correct | {correct['rows']} | {correct['steps']} | {correct['last_loss']:.4f} |" in text
    assert f"release 1.0.0 of small, {told['release']['rows']} rows" in text
    assert told["release"]["content_root"] in text
    assert not re.search(r"\{(?!question|answer)\w+\}", text)


def test_its_front_matter_is_what_the_hub_reads(told):
    data = front(card(told, has_chat_template=True))
    assert data["license"] == "unknown"
    assert (data["library_name"], data["pipeline_tag"]) == ("transformers", "text-generation")
    assert "base_model" not in data


@pytest.mark.parametrize(
    ("base", "is_local", "shown"),
    [
        ("meta-llama/Llama-2-7b-hf", False, "meta-llama/Llama-2-7b-hf"),
        ("models/mine", True, None),
        ("gpt2", False, None),
    ],
)
def test_a_base_is_linked_where_it_lies_on_the_hub(told, base, is_local, shown):
    text = card({**told, "base": base, "is_local_base": is_local}, has_chat_template=True)
    assert front(text).get("base_model") == shown
    assert "licence | not known here" in text
    assert ("models/" in text) is False


def test_hostile_names_and_templates_stay_text(told):
    template = {**told["template"], "text": "---\n```\n{settings} {question}\n````\n{answer}", "name": "a | b\n# c"}
    release = {**told["release"], "name": "x | <b>\n---\n[y](z)"}
    text = card({**told, "template": template, "release": release}, has_chat_template=False)
    assert front(text)["license"] == "unknown"
    assert "`````text\n---\n```\n{settings} {question}\n````\n{answer}\n`````" in text
    assert "release 1.0.0 of x \\| &lt;b> --- \\[y\\](z), 31 rows" in text
    assert "need a chat template, and with this tokenizer none" in text
