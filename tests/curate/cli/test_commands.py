"""The commands as a user types them: output, JSON, exit codes 0, 1, 2 and 3, and errors that say what to do."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from annotators.word_diff import word_diff
from tests.conftest import ROOT, lines

CURATE = str(Path(sys.executable).parent / "curate")


def curate(*arguments: str, code: int = 0, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([CURATE, *arguments], check=False, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def config(finished) -> str:
    return str(finished.folder / "pipelines.toml")


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """The configuration of a finished pipeline that a test may change."""
    return Path(shutil.copytree(finished.folder, tmp_path / "copied")) / "pipelines.toml"


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["run"],
        ["status"],
        ["show"],
        ["correct"],
        ["serve"],
        ["ledger"],
        ["release"],
        ["release", "diff"],
        ["doctor"],
    ],
)
def test_every_command_has_help(command):
    assert "Usage: curate" in curate(*command, "--help").stdout


def test_without_a_command_the_help_is_shown():
    assert "Commands" in curate(code=2).stdout + curate(code=2).stderr


def test_the_version_is_that_of_the_distribution():
    assert curate("--version").stdout.strip() == importlib.metadata.version("aligner-curation")


def test_status_sums_in_every_stage(config):
    stages = json.loads(curate("status", "-c", config, "--json").stdout)["stages"]
    assert [one["stage"] for one in stages] == [
        "import",
        "filter",
        "generate",
        "dedup",
        "annotate",
        "release",
        "train",
        "evaluate",
    ]
    for stage in stages:
        rows = stage["accounting"]
        assert rows["rows_in"] == rows["kept"] + rows["dropped"] + rows["failed"] + rows["waiting"]
        assert rows["dropped"] == sum(stage["dropped_by"].values())
        assert rows["failed"] == sum(stage["failed_by"].values())
        assert stage["state"] == "done"


def test_status_as_text_tells_reasons_and_releases(config):
    out = curate("status", "-c", config).stdout
    for text in ("invalid_json", "dedup.exact", "length.characters", "Releases: 1.0.0"):
        assert text in out


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("prompts", {"prompt_id", "text"}),
        ("answers", {"answer_id", "model"}),
        ("pairs", {"pair_id", "question", "answer"}),
        ("corrections", {"correction_id", "question", "correction"}),
        ("triples", {"triple_id", "split", "question", "answer", "correction"}),
        ("corrected", {"triple_id", "aligner_correction"}),
        ("verdicts", {"row_id", "rule", "twin_id"}),
        ("failures", {"row_id", "kind", "detail"}),
        ("leaders", {"number", "prompt_id"}),
        ("duplicates", {"row_id", "twin_id", "rule", "question_similarity", "answer_threshold"}),
        ("drops", {"source", "upstream_model", "dropped"}),
        ("similarities", {"what", "from", "count"}),
        ("scores", {"row_id", "letters.words"}),
        ("rows", {"triple_id", "target_tokens"}),
        ("samples", {"triple_id", "phase", "step", "answer", "correction", "aligner_correction"}),
    ],
)
def test_show_gives_rows_of_every_table(config, table, columns):
    found = json.loads(curate("show", table, "-c", config, "--limit", "2", "--json").stdout)
    assert 1 <= len(found) <= 2
    assert columns <= set(found[0])
    assert curate("show", table, "-c", config).stdout.strip()


def test_show_filters_by_column(config):
    found = json.loads(
        curate("show", "answers", "-c", config, "--where", "model=two", "--limit", "99", "--json").stdout
    )
    assert {row["model"] for row in found} == {"two"}


def test_show_draws_a_word_diff(config):
    assert "{+ That is 3" in curate("show", "triples", "--changed", "-c", config).stdout


def test_show_sets_what_the_aligner_wrote_beside_the_correction_at_each_evaluation(config):
    shown = curate("show", "samples", "--where", "phase=correct", "-c", config).stdout
    assert shown.count("\naligner    ") == 2
    assert shown.count("  phase correct  step 1\n") == 2


def test_show_leaves_out_what_a_terminal_obeys(tmp_path):
    lines(tmp_path / "p.jsonl", [{"text": "What is \x1b[31mred\u202e here, please?"}])
    (tmp_path / "pipelines.toml").write_text(
        '[[pipelines.p.sources]]\npath = "p.jsonl"\nfield = "text"\nlicense = "MIT"\n'
    )
    curate("run", "--stage", "import", cwd=tmp_path)
    out = curate("show", "prompts", "--stage", "import", cwd=tmp_path).stdout
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\\x1b[31mred\\x202e" in out


def test_releases_are_listed_verified_and_exported(config, tmp_path):
    (listed,) = json.loads(curate("release", "list", "-c", config, "--json").stdout)
    splits = [listed["splits"][name] for name in ("train", "validation", "test")]
    row = curate("release", "list", "-c", config).stdout.splitlines()[-1].split()
    assert row[:5] == ["1.0.0", *map(str, [listed["rows"], *splits])]
    assert "1.0.0 is whole" in curate("release", "verify", "-c", config).stdout
    files = json.loads(curate("release", "export", str(tmp_path), "--format", "json", "-c", config, "--json").stdout)[
        "files"
    ]
    assert [Path(name).name for name in files] == ["test.json", "train.json", "validation.json"]
    assert json.loads((tmp_path / "train.json").read_text())


def test_a_release_is_exported_in_the_words_of_a_template(config, tmp_path):
    (tmp_path / "mine.toml").write_text('name = "mine"\nversion = 1\ntext = "Q {question} A {answer} C "\n')
    command = ["release", "export", "out", "--format", "trl", "-c", config]
    assert curate(*command, "--template", "mine.toml", cwd=tmp_path).stdout.splitlines()[0] == "out/train.jsonl"
    first = json.loads((tmp_path / "out" / "train.jsonl").read_text().splitlines()[0])
    assert first["prompt"].startswith("Q How tall is the old")
    assert "never mixed" in curate(*command, code=1, cwd=tmp_path).stderr


def test_two_releases_are_compared(copied):
    path = copied.parent / "corrections.jsonl"
    path.write_text(path.read_text().replace("31 metres", "32 metres"))
    for stage in ("annotate", "release"):
        curate("run", "--stage", stage, "-c", str(copied))
    out = curate("release", "diff", "1.0.0", "1.0.1", "-c", str(copied)).stdout
    assert "0 added, 0 removed, 1 changed" in out
    assert "[-31-]{+32+}" in out


def test_a_done_run_says_that_there_is_nothing_to_do(config):
    assert "nothing to do: all 8 stages are done" in curate("run", "-c", config).stdout
    assert "nothing to do: the stage dedup is done" in curate("run", "--stage", "dedup", "-c", config).stdout


def test_a_dry_run_is_a_table_and_json(config):
    out = curate("run", "--stage", "generate", "--dry-run", "-c", config).stdout
    assert "in ledger" in out
    assert "Models without a price" in out
    found = json.loads(curate("run", "--stage", "annotate", "--dry-run", "-c", config, "--json").stdout)
    assert [(one["model"], one["to_send"], one["cost_usd_at_most"]) for one in found] == [("recorded", 1, None)]


def test_the_ledger_tells_calls_by_stage_and_model(config, small):
    assert "annotate  recorded" in curate("ledger", "-c", config).stdout
    found = json.loads(curate("ledger", "-c", config, "--json").stdout)
    assert {(one["stage"], one["model"]): one["calls"] for one in found["received"]}["annotate", "recorded"] > 10
    assert found["sent"] == []
    assert "nothing was asked yet" in curate("ledger", "-c", str(small)).stdout


def test_a_run_as_json_keeps_stdout_to_one_document(small):
    done = curate("run", "--stage", "filter", "-c", str(small), "--json")
    assert [one["stage"] for one in json.loads(done.stdout)["stages"]] == ["import", "filter"]


def test_people_must_act_gives_exit_code_3(copied):
    copied.write_text(copied.read_text().replace('kind = "recorded"\npath = "corrections.jsonl"', 'kind = "people"'))
    done = curate("run", "-c", str(copied), code=3)
    assert "wait for people" in done.stderr
    rows = json.loads(curate("status", "-c", str(copied), "--json").stdout)["stages"][4]
    assert (rows["state"], rows["accounting"]["waiting"]) == ("waiting", rows["accounting"]["rows_in"])


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["run", "--stage", "filtre"], 2, "filtre"),
        (["run", "--dry-run"], 2, "--dry-run needs --stage"),
        (["run", "--again"], 2, "--again needs --stage"),
        (["show", "prompst"], 2, "there is no table prompst"),
        (["show", "prompts", "--where", "model"], 2, "--where needs column=value"),
        (["show", "prompts", "--where", "modle=x"], 2, "has no column modle"),
        (["show", "prompts", "--stage", "train"], 2, "the stage train has no table prompts"),
        (["show", "verdicts", "--stage", "nope"], 2, "the stage nope has no table verdicts"),
        (["show", "triples", "--where", "turns=1"], 2, "which holds lists"),
        (["run", "-c", "nowhere.toml"], 2, "nowhere.toml"),
        (["run", "-p", "smal"], 2, "small"),
        (["release", "verify", "9.9.9"], 1, "there is no release 9.9.9"),
        (["release", "diff", "1.0.0", "../../etc"], 1, "no release"),
        (["release", "export", "out", "--format", "hf"], 2, "'hf' is not one of"),
        (["release", "export", "out", "--format", "axolotl"], 2, "--eos"),
        (["release", "export", "out", "--format", "jsonl", "--template", "T1"], 2, "say nothing about jsonl"),
        (["release", "export", "out", "--format", "trl", "--template", "T9"], 2, "there is no template T9"),
    ],
)
def test_what_goes_wrong_is_told_with_an_exit_code(finished, arguments, code, text):
    done = curate(*arguments, code=code, cwd=finished.folder)
    assert text in done.stderr
    assert done.stdout == ""


def test_a_run_directory_that_cannot_be_made_is_told(small):
    small.write_text(small.read_text().replace("[pipelines.small]", '[pipelines.small]\nworkdir = "/proc/nowhere"'))
    done = curate("run", "--stage", "filter", "-c", str(small), code=1)
    assert "the system says: No such file or directory: /proc/nowhere" in done.stderr


def test_an_error_as_json_is_one_object(finished):
    done = curate("show", "nothing", "--json", code=2, cwd=finished.folder)
    assert json.loads(done.stdout)["error"] == "UsageError"


def test_a_stage_before_its_time_names_the_command_to_run(small):
    done = curate("run", "--stage", "train", "-c", str(small), code=1)
    assert "curate run --stage release" in done.stderr


def test_doctor_finds_what_is_missing(small, config):
    curate("doctor", "-c", config)
    served = 'provider = "openai"\nbase_url = "http://127.0.0.1:9/v1"\napi_key_env = "NOT_SET_ANYWHERE"'
    text = small.read_text().replace(
        'name = "one"\nprovider = "recorded"\npath = "answers.jsonl"', f'name = "one"\n{served}'
    )
    small.write_text(text.replace('path = "prompts.jsonl"', 'path = "promts.jsonl"'))
    out = curate("doctor", "-c", str(small), code=1).stdout
    for problem in ("there is no file promts.jsonl", "the environment variable NOT_SET_ANYWHERE", "Connection refused"):
        assert problem in out


def test_the_shipped_preset_is_the_papers_funnel():
    from curate.config.reading import read_pipeline

    preset = read_pipeline(ROOT / "pipelines.toml", "aligner-50k").config
    assert sum(model.weight for model in preset.generate.models) == pytest.approx(97.12)
    assert {one.name: one.weight for one in preset.annotate.annotators} == {
        "gpt-4": 43.19,
        "people": 27.10,
        "llama2-70b-chat": 6.69,
    }
    for model in preset.generate.models:
        asked = model.sampling
        assert (asked.temperature, asked.top_p, asked.top_k, asked.repetition_penalty, asked.max_tokens) == (
            0.5,
            0.95,
            10,
            1.1,
            2048,
        )


def test_the_diff_of_two_very_long_texts_is_told_by_their_ends():
    old = "Once there was " + "a cat and a dog " * 5000 + "in a house."
    new = old.replace("a dog a", "a fox a", 1) + " The end."
    pieces = list(word_diff(old, new.replace("Once", "Twice")))
    assert "".join(text for what, text in pieces if what != "added") == old
    assert "".join(text for what, text in pieces if what != "removed") == new.replace("Once", "Twice")
