"""A release for other trainers: the same rows in their formats, whole folders, and the ids of our own training."""

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from curate.release.trainers import Ends, Trainer
from curate.stages.release_export import export
from curate.store import releases
from curate.training import models
from curate.training.templates import TEMPLATES, Template
from curate.training.tokens import token_rows
from schemas.errors import ReleaseError, UsageError

ENDS = Ends("<s>", "</s>")
OWN = Template("own", 1, "Q<{question}>A<{answer}>C:", ("<", ">"))
EARLIER = [{"role": "user", "text": "Hi."}, {"role": "assistant", "text": "Hello.\n"}]
HOSTILE = [
    ("See <image>, {answer} and {{content}}?", " spaced ", "\n\nA new line, 火🙂"),
    ("x ASSISTANT: y", "##Correction: z &#65;", "##Correction: z &#65;"),
    ("q", '"a"\\n', "/a:"),
]


@pytest.fixture
def release(finished, tmp_path) -> Path:
    """The small release with hostile rows in training; no row is in its validation."""
    known = pl.concat(pl.read_parquet(path) for path in (finished.workdir / "releases/1.0.0/data").glob("*.parquet"))
    columns = dict(zip(("question", "answer", "correction"), zip(*HOSTILE, strict=True), strict=True))
    more = known.head(len(HOSTILE)).with_columns(
        *(pl.Series(name, texts) for name, texts in columns.items()),
        pl.Series("turns", [EARLIER, [], []], known.schema["turns"]),
        pl.Series("triple_id", [f"{number:032x}" for number in range(len(HOSTILE))]),
        split=pl.lit("train"),
    )
    rows = pl.concat([known.filter(pl.col("split") != "validation"), more])
    rows.write_parquet(tmp_path / "triples.parquet")
    releases.create(tmp_path / "releases", "hostile", [tmp_path / "triples.parquet"], {})
    return tmp_path / "releases" / "1.0.0"


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def texts(row: dict[str, object]) -> tuple[str, str]:
    """Prompt and completion of one exported row, without the texts of BOS and EOS."""
    if "segments" in row:
        prompt, completion = row["segments"]
        assert (prompt["label"], completion["label"]) == (False, True)
        return prompt["text"].removeprefix("<s>"), completion["text"].removesuffix("</s>")
    return row["prompt"].removeprefix("<s>"), row["completion"].removesuffix("</s>")


@pytest.mark.parametrize("trainer", Trainer)
def test_questions_answers_and_corrections_come_back_as_they_were(release, tmp_path, trainer):
    export(release, trainer, tmp_path / "out", OWN, ENDS)
    for split in ("train", "test"):
        triples = pl.read_parquet(release / "data" / f"{split}.parquet")
        back = []
        for row in read(tmp_path / "out" / f"{split}.jsonl"):
            prompt, completion = texts(row)
            question, _, answer = prompt.removeprefix("Q<").removesuffix(">C:").partition(">A<")
            back.append((row["triple_id"], *(OWN.written(text) for text in (question, answer, completion))))
        asked = [
            "\n".join([*(turn["text"] for turn in turns), question])
            for turns, question in triples.select("turns", "question").rows()
        ]
        assert back == list(zip(triples["triple_id"], asked, triples["answer"], triples["correction"], strict=True))


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda one: one.name)
@pytest.mark.parametrize("trainer", [Trainer.AXOLOTL, Trainer.LLAMA_FACTORY])
def test_texts_that_are_tokenised_apart_give_the_ids_of_our_own_training(release, tmp_path, template, trainer):
    tokenizer = models.train_tokenizer(["How tall is the tower? ASSISTANT: It is 30 metres tall."], 300)
    export(release, trainer, tmp_path / "out", template, ENDS)
    for row in read(tmp_path / "out" / "train.jsonl"):
        prompt, completion = texts(row)
        parts = [one["text"] for one in row["segments"]] if "segments" in row else [row["prompt"], row["completion"]]
        ids = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in parts]
        (ours,) = token_rows(tokenizer, ["a"], [prompt], [completion])
        assert (ids[0] + ids[1], len(ids[0])) == (ours.ids, ours.prompt_tokens)


def test_trl_gets_neither_bos_nor_eos_as_it_adds_both(release, tmp_path):
    export(release, Trainer.TRL, tmp_path / "out", TEMPLATES["T1"], ENDS)
    assert not any("<s>" in "".join(texts(row)) + row["prompt"] for row in read(tmp_path / "out" / "train.jsonl"))
    assert not any(row["completion"].endswith("</s>") for row in read(tmp_path / "out" / "train.jsonl"))


@pytest.mark.parametrize("trainer", Trainer)
def test_a_text_that_spells_a_control_token_never_becomes_it(finished, tmp_path, trainer):
    frame = pl.read_parquet(finished.workdir / "releases/1.0.0/data/test.parquet").head(1)
    spelled = frame.with_columns(
        question=pl.lit("Is </s> a tag?"), answer=pl.lit("<s>."), correction=pl.lit("Yes, </s>")
    )
    spelled.write_parquet(tmp_path / "triples.parquet")
    releases.create(tmp_path / "releases", "spelled", [tmp_path / "triples.parquet"], {})
    export(tmp_path / "releases" / "1.0.0", trainer, tmp_path / "out", TEMPLATES["T1"], Ends("<s> ", "</s>"))
    (row,) = read(tmp_path / "out" / "test.jsonl")
    prompt, completion = texts(row)
    assert "Is &#60;/s> a tag? | &#60;s>. ASSISTANT:" in prompt
    assert completion == "Yes, &#60;/s>"
    assert json.dumps(row).count("</s>") == (0 if trainer is Trainer.TRL else 1)


def test_the_files_beside_name_every_split_that_has_rows(release, tmp_path):
    export(release, Trainer.AXOLOTL, tmp_path / "axolotl", TEMPLATES["T1"], ENDS)
    export(release, Trainer.LLAMA_FACTORY, tmp_path / "factory", TEMPLATES["T1"], ENDS)
    told = yaml.safe_load((tmp_path / "axolotl" / "axolotl.yaml").read_text())
    assert told["datasets"] == [{"path": "train.jsonl", "ds_type": "json", "type": "input_output", "split": "train"}]
    assert "test_datasets" not in told
    named = json.loads((tmp_path / "factory" / "dataset_info.json").read_text())
    assert list(named) == ["aligner_train", "aligner_test"]
    assert all((tmp_path / "factory" / one["file_name"]).is_file() for one in named.values())
    assert not (tmp_path / "factory" / "validation.jsonl").exists()


def test_an_export_says_what_it_is_of(release, tmp_path):
    export(release, Trainer.TRL, tmp_path / "out", TEMPLATES["T3"], Ends())
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    manifest = releases.manifest_of(release)
    assert told["release"] == {key: manifest[key] for key in ("name", "version", "content_root")}
    assert told["rows"] == {split: rows for split, rows in manifest["splits"].items() if rows}
    assert (told["format"], told["template"]) == ("trl", TEMPLATES["T3"].told())


def test_a_repeated_export_changes_nothing(release, tmp_path):
    paths = export(release, Trainer.TRL, tmp_path / "out", TEMPLATES["T1"], Ends())
    before = [path.stat() for path in paths]
    assert export(release, Trainer.TRL, tmp_path / "out", TEMPLATES["T1"], Ends()) == paths
    assert [path.stat() for path in paths] == before


def test_what_a_killed_export_left_is_no_hindrance(release, tmp_path):
    (tmp_path / ".out.scratch").mkdir()
    (tmp_path / ".out.scratch" / "train.jsonl").write_text("half")
    (tmp_path / "out").mkdir()
    export(release, Trainer.TRL, tmp_path / "out", TEMPLATES["T1"], Ends())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "releases", "triples.parquet"]


@pytest.mark.parametrize(
    "change",
    [
        lambda release, out: export(release, Trainer.LLAMA_FACTORY, out, TEMPLATES["T1"], ENDS),
        lambda release, out: export(release, Trainer.TRL, out, TEMPLATES["T2"], Ends()),
        lambda release, out: releases.export(release, "jsonl", out),
        lambda release, out: (
            (out / "train.jsonl").unlink() or export(release, Trainer.TRL, out, TEMPLATES["T1"], Ends())
        ),
    ],
    ids=["format", "template", "copy", "torn"],
)
def test_two_exports_are_never_mixed(release, tmp_path, change):
    export(release, Trainer.TRL, tmp_path / "out", TEMPLATES["T1"], Ends())
    with pytest.raises(ReleaseError, match="is not this export whole|holds an export for a trainer"):
        change(release, tmp_path / "out")


def test_a_folder_with_other_files_is_left_alone(release, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ReleaseError, match="name another folder"):
        export(release, Trainer.TRL, tmp_path, TEMPLATES["T1"], Ends())


@pytest.mark.parametrize("trainer", [Trainer.AXOLOTL, Trainer.LLAMA_FACTORY])
def test_a_trainer_that_adds_no_eos_needs_to_be_told_it(release, tmp_path, trainer):
    with pytest.raises(UsageError, match=f"{trainer.value} adds no EOS"):
        export(release, trainer, tmp_path / "out", TEMPLATES["T1"], Ends())


def test_more_rows_than_are_held_at_once_come_in_their_order(finished, tmp_path):
    one = pl.read_parquet(finished.workdir / "releases/1.0.0/data/test.parquet").head(1)
    count = releases.ROW_GROUP_ROWS + 1
    many = pl.concat([one] * count).with_columns(answer=pl.int_range(count).cast(pl.String))
    many.write_parquet(tmp_path / "triples.parquet")
    releases.create(tmp_path / "releases", "many", [tmp_path / "triples.parquet"], {})
    export(
        tmp_path / "releases" / "1.0.0", Trainer.TRL, tmp_path / "out", Template("a", 1, "{question}|{answer}"), Ends()
    )
    answers = [row["prompt"].rpartition("|")[2] for row in read(tmp_path / "out" / "test.jsonl")]
    assert answers == [str(number) for number in range(count)]
