import polars as pl
import pytest

from curate.store.manifest import Accounting
from curate.store.run import RunStore
from schemas.errors import AccountingError, StageError, StoreError
from schemas.tables import Failures, Prompts, Verdicts

KEY = {"stage": "filter"}


def prompts(*ids: int) -> pl.DataFrame:
    rows = [(f"{one:032x}", f"text {one}", [], "file", one, None, None) for one in ids]
    return pl.DataFrame(rows, schema=Prompts.create_empty().schema, orient="row")


def verdicts(*ids: int) -> pl.DataFrame:
    rows = [(f"{one:032x}", "filter", "length.words", 1.0, 2.0, False, None, None) for one in ids]
    return pl.DataFrame(rows, schema=Verdicts.create_empty().schema, orient="row")


def publish(store: RunStore, key=KEY, kept=(1, 2), dropped=(3,), rows_in=3):
    with store.draft("filter", key, unit="prompt", kept="prompts") as draft:
        draft.write("prompts", prompts(*kept))
        draft.write("verdicts", verdicts(*dropped))
        return draft.publish(rows_in=rows_in)


def test_what_is_published_is_read_back(tmp_path):
    store = RunStore(tmp_path)
    publish(store)
    assert store.table("filter", "prompts").collect().equals(prompts(1, 2))
    assert store.published("filter").accounting == Accounting("prompt", 3, kept=2, dropped=1, failed=0)


def test_a_lost_row_is_not_published(tmp_path):
    store = RunStore(tmp_path)
    with pytest.raises(AccountingError, match="4 rows in, but 3 out"):
        publish(store, rows_in=4)
    assert store.manifest("filter") is None


def test_a_row_with_two_verdicts_counts_once(tmp_path):
    store = RunStore(tmp_path)
    with store.draft("filter", KEY, unit="prompt", kept="prompts") as draft:
        draft.write("verdicts", pl.concat([verdicts(3), verdicts(3)]))
        manifest = draft.publish(rows_in=1)
    assert (manifest.accounting.dropped, manifest.dropped_by) == (1, {"length.words": 1})


def test_a_failed_run_keeps_the_old_tables_and_says_why(tmp_path):
    store = RunStore(tmp_path)
    publish(store)
    with pytest.raises(StageError), store.draft("filter", {"new": 1}, unit="prompt", kept="prompts"):
        raise StageError("no words", do="add some")
    assert store.table("filter", "prompts").collect().height == 2
    failed = store.failed("filter")
    assert failed is not None
    assert (failed.what, failed.do) == ("no words", "add some")
    assert sorted(path.name for path in (tmp_path / "filter").iterdir() if not path.name.startswith("data-")) == [
        "failed.json",
        "manifest.json",
    ]


def test_the_next_success_forgets_the_failure(tmp_path):
    store = RunStore(tmp_path)
    with pytest.raises(StageError), store.draft("filter", KEY, unit="prompt", kept="prompts"):
        raise StageError("no words")
    publish(store)
    assert store.failed("filter") is None


def test_an_old_version_leaves_no_files(tmp_path):
    store = RunStore(tmp_path)
    publish(store)
    publish(store, {"new": 1}, kept=(1,), rows_in=2)
    assert len(list((tmp_path / "filter").glob("data-*"))) == 1


def test_a_shard_that_was_changed_is_refused(tmp_path):
    store = RunStore(tmp_path)
    publish(store)
    shard = store.shards("filter", "prompts")[0]
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(StoreError, match="missing or was changed"):
        store.shards("filter", "prompts")


def test_a_damaged_manifest_is_named(tmp_path):
    store = RunStore(tmp_path)
    publish(store)
    (tmp_path / "filter" / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match="manifest.json is damaged"):
        store.manifest("filter")


def test_a_table_that_breaks_its_schema_is_refused(tmp_path):
    store = RunStore(tmp_path)
    bad = prompts(1).with_columns(pl.lit("not an id").alias("prompt_id"))
    with pytest.raises(Exception, match="prompt_id"), store.draft("filter", KEY, unit="p", kept="prompts") as draft:
        draft.write("prompts", bad)
    assert store.manifest("filter") is None


def test_empty_tables_are_published_with_their_columns(tmp_path):
    store = RunStore(tmp_path)
    publish(store, kept=(), dropped=(), rows_in=0)
    assert store.table("filter", "failures").collect().columns == Failures.column_names()
