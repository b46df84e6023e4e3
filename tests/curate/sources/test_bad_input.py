"""Every way in which a file can be broken ends in a failure row or in an error with file, row and what to do."""

import gzip
import json

import polars as pl
import pytest
import zstandard

from curate.config.reading import read_pipeline
from curate.pipeline import run_stage
from curate.store.run import RunStore
from schemas.errors import ConfigError, CurateError, SourceError, StageError

GOOD = b'{"text": "How are you today?"}\n'


@pytest.fixture
def imported(tmp_path):
    """Imports a file of these bytes; gives its failures as (row id, kind, detail) and the prompts' texts."""

    def run(content: bytes, name: str = "in.jsonl", source: str = 'field = "text"'):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        config = tmp_path / "pipelines.toml"
        config.write_text(f'[pipelines.p]\n[[pipelines.p.sources]]\npath = "{name}"\n{source}\n')
        pipeline = read_pipeline(config)
        run_stage(pipeline, "import", lambda _: None, again=False)
        store = RunStore(pipeline.workdir)
        failures = store.table("import", "failures").select("row_id", "kind", "detail").collect().rows()
        return failures, store.table("import", "prompts").collect()["text"].to_list()

    return run


@pytest.mark.parametrize(
    ("bad", "kind", "says"),
    [
        (b'{"text": "cut o', "invalid_json", "it starts with"),
        (b'{"text": null}', "null_field", "the prompt is null"),
        (b'{"tekst": "a"}', "missing_field", 'did you mean "tekst"?'),
        (b'{"text": 5}', "wrong_type", "a number, not text"),
        (b'{"text": "  "}', "empty_prompt", "no characters"),
        (b'{"text": "\xff\xfe"}', "invalid_utf8", "byte 10 of the line"),
        (b'["text"]', "wrong_shape", "a list, not an object"),
        (b'{"text": "' + b"x" * 10_000_000 + b'"}', "row_too_long", "10000013 bytes; at most 8388608"),
        (b'{"text": "\\ud800"}', "invalid_json", "it starts with"),
        (b"\x00\x00", "invalid_json", "it starts with"),
    ],
)
def test_a_broken_line_is_a_failure_row_and_its_neighbours_stay(imported, bad, kind, says):
    failures, texts = imported(GOOD + bad + b"\n" + GOOD.replace(b"today", b"now"))
    assert [(row, found) for row, found, _ in failures] == [("in.jsonl:2", kind)]
    assert says in failures[0][2]
    assert texts == ["How are you today?", "How are you now?"]


def test_a_wrong_column_in_every_row_stops_with_the_nearest_name(imported):
    with pytest.raises(
        SourceError, match=r'in.jsonl: none of its 2 rows fits .* row 1: no field "txt".*did you mean "text"'
    ):
        imported(GOOD * 2, source='field = "txt"')


@pytest.mark.parametrize(
    ("name", "content"),
    [("in.jsonl", b""), ("in.jsonl", b"\n\n"), ("in.json", b"[]"), ("in.csv", b""), ("in.json", b"")],
)
def test_an_empty_file_alone_ends_with_what_to_check(imported, name, content):
    with pytest.raises(StageError, match=r"no prompt was found in [01] rows"):
        imported(content, name)


def test_an_empty_file_among_others_is_a_failure_row(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"")
    (tmp_path / "b.jsonl").write_bytes(GOOD)
    config = tmp_path / "pipelines.toml"
    config.write_text('[pipelines.p]\n[[pipelines.p.sources]]\npath = "*.jsonl"\nfield = "text"\n')
    pipeline = read_pipeline(config)
    run_stage(pipeline, "import", lambda _: None, again=False)
    manifest = RunStore(pipeline.workdir).published("import")
    assert manifest.failed_by == {"empty_file": 1}
    assert manifest.accounting.rows_in == 2


def test_a_missing_file_and_a_glob_without_files_say_where_was_looked(imported, tmp_path):
    with pytest.raises(SourceError, match=r"there is no file nothing.jsonl \(looked in "):
        imported(None, "nothing.jsonl")
    with pytest.raises(SourceError, match=r"no file matches no\*.jsonl \(looked in "):
        imported(None, "no*.jsonl")


def test_an_unknown_ending_is_refused(imported):
    with pytest.raises(SourceError, match="in.txt: cannot tell the format"):
        imported(GOOD, "in.txt")


def test_a_broken_json_array_names_the_last_good_row(imported):
    with pytest.raises(SourceError, match="in.json: broken after row 1: "):
        imported(b'[{"text": "fine text"}, {"text": ', "in.json")


def test_a_cut_off_gzip_is_refused_as_a_whole(imported):
    whole = gzip.compress(b"".join(json.dumps({"text": f"prompt {n}"}).encode() + b"\n" for n in range(5000)))
    with pytest.raises(SourceError, match="in.jsonl.gz: broken after row "):
        imported(whole[: len(whole) // 2], "in.jsonl.gz")


@pytest.mark.parametrize("name", ["in.jsonl.gz", "in.jsonl.zst", "in.parquet", "in.csv.gz"])
def test_a_file_that_is_not_what_its_ending_says_is_refused(imported, name):
    with pytest.raises(SourceError, match=f"{name}: broken after row 0"):
        imported(GOOD * 100, name)


def test_a_csv_row_with_too_few_cells_is_a_failure_row(imported):
    failures, texts = imported(b'id,text\n1,"good, with\na break"\n2\n3,\xff\n4,fine\n', "in.csv")
    assert [(row, kind) for row, kind, _ in failures] == [("in.csv:4", "invalid_csv"), ("in.csv:5", "invalid_utf8")]
    assert texts == ["good, with\na break", "fine"]


def test_one_file_in_two_sources_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    config = tmp_path / "pipelines.toml"
    source = '[[pipelines.p.sources]]\npath = "{}"\nfield = "text"\n'
    config.write_text(source.format("a.jsonl") + source.format("*.jsonl"))
    with pytest.raises(SourceError, match="a.jsonl is read by two sources"):
        run_stage(read_pipeline(config), "import", lambda _: None, again=False)


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz", "in.jsonl.zst", "in.json", "in.csv", "in.parquet"])
def test_every_format_gives_the_same_prompts(imported, name):
    rows = [{"text": "Why is the sky blue?"}, {"text": "Où est la gare, s’il vous plaît ?"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    frame = pl.DataFrame(rows)
    contents = {
        "in.jsonl": lines,
        "in.jsonl.gz": gzip.compress(lines),
        "in.jsonl.zst": zstandard.compress(lines),
        "in.json": json.dumps(rows).encode(),
        "in.csv": frame.write_csv().encode(),
    }
    if name == "in.parquet":
        from io import BytesIO

        buffer = BytesIO()
        frame.write_parquet(buffer)
        contents[name] = buffer.getvalue()
    assert imported(contents[name], name) == ([], [row["text"] for row in rows])


def test_a_key_that_stands_in_the_file_is_refused_and_not_repeated(tmp_path, imported):
    config = tmp_path / "pipelines.toml"
    config.write_text(
        '[pipelines.p]\n[[pipelines.p.generate.models]]\nname = "m"\nprovider = "openai"\napi_key = "sk-1"\n'
    )
    with pytest.raises(ConfigError) as caught:
        read_pipeline(config)
    assert "sk-1" not in str(caught.value)
    assert 'did you mean "api_key_env"?' in str(caught.value)


def test_every_error_says_what_to_do(imported):
    for name in ("nothing.jsonl", "no*.jsonl", "in.txt"):
        with pytest.raises(CurateError) as caught:
            imported(GOOD if name == "in.txt" else None, name)
        assert caught.value.do
