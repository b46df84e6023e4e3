"""Releases are whole, read by the usual libraries, verified to the last byte, and never written twice."""

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from curate.store.releases import content_root, create, export, manifest_of, verify, versions
from schemas.errors import ReleaseError

COLUMNS = ["question", "answer", "correction"]


@pytest.fixture
def release(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished.workdir / "releases" / "1.0.0", tmp_path / "1.0.0"))


def rows_of(release: Path) -> pl.DataFrame:
    return pl.concat(pl.read_parquet(path) for path in sorted((release / "data").iterdir()))


def test_an_untouched_release_is_whole(release):
    assert verify(release) == []


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda release: (release / "json" / "train.json").unlink(), "json/train.json: missing"),
        (lambda release: (release / "notes.txt").write_text("hi"), "notes.txt: not in the manifest"),
        (
            lambda release: (release / "jsonl" / "train.jsonl").write_bytes(b"{}\n"),
            "jsonl/train.jsonl: its bytes differ from the manifest's SHA-256",
        ),
    ],
)
def test_a_touched_release_is_told_by_file(release, damage, fault):
    damage(release)
    assert verify(release) == [fault]


def test_a_manifest_that_lies_about_the_rows_is_found(release):
    path = release / "manifest.json"
    path.write_text(path.read_text().replace(manifest_of(release)["content_root"], "0" * 64))
    assert verify(release) == ["the rows differ from the manifest's content root"]


def test_a_damaged_manifest_is_told(release):
    (release / "manifest.json").write_text("{")
    with pytest.raises(ReleaseError, match="is damaged"):
        verify(release)


def test_all_three_formats_hold_the_same_rows(release):
    parquet = rows_of(release).select(COLUMNS)
    jsonl = pl.concat(
        pl.read_ndjson(path, schema=parquet.schema)
        for path in sorted((release / "jsonl").iterdir())
        if path.stat().st_size
    )
    arrays = [json.loads(path.read_text()) for path in sorted((release / "json").iterdir())]
    assert all(isinstance(array, list) for array in arrays)
    assert jsonl.select(COLUMNS).rows() == parquet.rows()
    assert [tuple(row.values()) for array in arrays for row in array] == parquet.rows()


def test_pandas_and_datasets_read_it(release, tmp_path):
    import datasets
    import pandas

    train = pandas.read_parquet(release / "data" / "train.parquet")
    loaded = datasets.load_dataset(str(release), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train", "validation", "test"]
    assert loaded["train"]["correction"] == train["correction"].to_list()
    assert sum(len(loaded[name]) for name in loaded) == manifest_of(release)["rows"]


def test_the_json_array_is_what_the_reference_loader_reads(release):
    for row in json.loads((release / "json" / "train.json").read_text()):
        assert list(row) == COLUMNS
        assert all(isinstance(text, str) for text in row.values())


def test_the_content_root_ignores_order_and_files(release, tmp_path):
    rows = rows_of(release)
    rows.reverse()[:3].write_parquet(tmp_path / "one.parquet", compression="uncompressed")
    rows.reverse()[3:].write_parquet(tmp_path / "two.parquet", row_group_size=2)
    root = content_root([tmp_path / "two.parquet", tmp_path / "one.parquet"])
    assert root == manifest_of(release)["content_root"]


def test_one_changed_letter_changes_the_content_root(release, tmp_path):
    rows_of(release).with_columns(pl.col("answer").str.replace("feet", "fEet", literal=True)).write_parquet(
        tmp_path / "x.parquet"
    )
    assert content_root([tmp_path / "x.parquet"]) != manifest_of(release)["content_root"]


def test_the_same_rows_make_no_second_release(release, tmp_path):
    shards = sorted((release / "data").iterdir())
    assert create(tmp_path, "small", shards, {}) == ("1.0.0", False)


def test_more_rows_make_a_minor_release_with_its_diff(release, tmp_path):
    rows = rows_of(release)
    more = rows.head(1).with_columns(pair_id=pl.lit("f" * 32), triple_id=pl.lit("e" * 32))
    pl.concat([rows, more]).write_parquet(tmp_path / "more.parquet")
    assert create(tmp_path, "small", [tmp_path / "more.parquet"], {}) == ("1.1.0", True)
    assert manifest_of(tmp_path / "1.1.0")["change"] == {"added": 1, "removed": 0, "changed": 0}
    assert versions(tmp_path) == ["1.0.0", "1.1.0"]
    assert verify(tmp_path / "1.1.0") == []


def test_the_card_counts_what_is_there(release):
    card, manifest = (release / "README.md").read_text(), manifest_of(release)
    rows = rows_of(release)
    assert f"({int(rows['is_identity'].sum())} of {rows.height} rows do)" in card
    assert re.search(r"^license: mit$", card, re.MULTILINE)
    assert f"| train | {manifest['splits']['train']} |" in card
    assert not re.search(r"\{\w+\}", card)


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "json"])
def test_an_export_copies_one_format(release, tmp_path, kind):
    copied = export(release, kind, tmp_path / "out")
    source = release / {"parquet": "data"}.get(kind, kind)
    assert sorted(path.name for path in copied) == sorted(path.name for path in source.iterdir())
    assert all(path.read_bytes() == (source / path.name).read_bytes() for path in copied)


def test_a_release_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ReleaseError, match="there is no release"):
        manifest_of(tmp_path / "9.9.9")
