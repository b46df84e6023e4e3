"""What the table of preferences is for generate: answers that are there already, and that nobody is paid for again."""

from typing import TYPE_CHECKING

from curate.identity import content_id, content_ids
from curate.rules.refusal import REFUSAL
from curate.store.run import RunStore

if TYPE_CHECKING:
    import polars as pl

NEEDED = ["prompt_id", "answer", "upstream_model", "source"]


def key_of_preferences(store: RunStore) -> dict[str, str]:
    """The preferences' content; nothing where no source has any, so that runs without them stay done."""
    imported = store.published("import")
    return {"preferences": imported.content("preferences")} if "preferences" in imported.tables else {}


def prompts_with_preferences(store: RunStore) -> "pl.DataFrame":
    """Ids of the prompts that have preferences, each once: about 50 bytes of memory each."""
    import polars as pl

    if not key_of_preferences(store):
        return pl.DataFrame(schema={"prompt_id": pl.String})
    return store.table("import", "preferences").select("prompt_id").unique("prompt_id").sort("prompt_id").collect()


def answers_of_preferences(store: RunStore, prompts: "pl.DataFrame") -> "pl.DataFrame":
    """Rows of `answers`: the rejected answers to some prompts, by prompt in their order, then by model and id.

    Two preferences with the same answer of the same model to the same prompt give one row. Its id is of these three
    alone: files in another order or under another name, and further preferences, change no id.
    """
    import polars as pl

    from schemas.tables import Answers

    found = _preferences_of(store, prompts.select("prompt_id").with_row_index("place"))
    sources = found["source"].unique().to_list()
    settings = {source: content_id("preference", source) for source in sources}
    once = (
        found.with_columns(settings_id=pl.col("source").replace_strict(settings, return_dtype=pl.String))
        .group_by("place", "prompt_id", "upstream_model", "answer")
        .agg(pl.col("settings_id").min())
    )
    made_by = pl.lit("preference").alias("settings")
    ids = content_ids("answer", *once.select("prompt_id", "upstream_model", made_by, "answer"))
    is_refusal = [REFUSAL.match(text) is not None for text in once["answer"]]
    return (
        once.with_columns(
            pl.Series("answer_id", ids, pl.String),
            pl.Series("is_refusal", is_refusal, pl.Boolean),
            finish_reason=pl.lit("stop"),
            request_id=pl.lit(None, pl.String),
        )
        .sort("place", "upstream_model", "answer_id")
        .rename({"upstream_model": "model", "answer": "text"})
        .with_columns(sample_index=pl.int_range(pl.len(), dtype=pl.Int64).over("prompt_id", "model"))
        .select(Answers.column_names())
    )


def _preferences_of(store: RunStore, prompts: "pl.DataFrame") -> "pl.DataFrame":
    """The preferences of some prompts; texts are read of those shards alone that hold one of their ids."""
    import polars as pl

    found = [pl.DataFrame(schema={**dict.fromkeys(NEEDED, pl.String), "place": prompts.schema["place"]})]
    shards = store.shards("import", "preferences") if key_of_preferences(store) else []
    for path in shards:
        ids = pl.read_parquet(path, columns=["prompt_id"])
        if not ids.join(prompts, on="prompt_id", how="semi").is_empty():
            frame = pl.read_parquet(path, columns=NEEDED)
            found.append(frame.join(prompts, on="prompt_id", how="inner"))
    return pl.concat(found)
