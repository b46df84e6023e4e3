"""Release: the last pair filter, the splits, and a new numbered version where the triples have changed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from curate.config.model import Pipeline
from curate.progress import Progress
from curate.store import releases
from curate.store.run import RunStore
from schemas.errors import ReleaseError

if TYPE_CHECKING:
    import polars as pl

NAME = "release"
VERSION = 1


def key(pipeline: Pipeline, store: RunStore) -> dict[str, Any]:
    """Content of pairs and corrections, and the settings of the last filter and the splits."""
    return {
        "stage": NAME,
        "version": VERSION,
        "pairs": store.published("dedup").content("pairs"),
        "corrections": store.published("annotate").content("corrections"),
        "seed": pipeline.config.seed,
        "settings": pipeline.config.release.model_dump(),
        "name": pipeline.config.release.name or pipeline.name,
    }


def run(pipeline: Pipeline, store: RunStore, key: dict[str, Any], progress: Progress) -> None:
    """Write the triples shard by shard, then the release directory, then the stage's manifest."""
    config = pipeline.config.release
    if not config.allow_unlicensed:
        _check_licenses(store)
    rows_in = store.published("annotate").rows("corrections")
    with store.draft(NAME, key, unit="correction", kept="triples") as draft:
        from curate.release.triples import join, judge
        from schemas.tables import Triples

        shares = (config.validation_share, config.test_share)
        done = 0
        for pairs, corrections in _matched(store):
            triples = join(pairs, corrections, str(key["name"]), shares, pipeline.config.seed)
            verdicts = judge(triples, config.max_characters)
            dropped = verdicts.select("row_id").unique(maintain_order=True)
            kept = triples.join(dropped, left_on="correction_id", right_on="row_id", how="anti", maintain_order="left")
            draft.write("verdicts", verdicts)
            draft.write("triples", kept.select(Triples.column_names()))
            done += corrections.height
            progress.update(f"{done:,} of {rows_in:,} corrections")
        if not draft.rows("triples"):
            raise ReleaseError("no correction is left to release", do="look at `curate status`: where did the rows go?")
        provenance = {stage: store.published(stage).fingerprint for stage in PROVENANCE}
        version, is_new = releases.create(
            pipeline.workdir / "releases", str(key["name"]), draft.paths("triples"), provenance
        )
        progress.say(f"release {version}" + ("" if is_new else " holds these rows already; no new one was made"))
        draft.publish(rows_in=rows_in, notes={"version": version})


PROVENANCE = ("import", "filter", "generate", "dedup", "annotate")


def _matched(store: RunStore) -> Iterator[tuple["pl.DataFrame", "pl.DataFrame"]]:
    """Shards of pairs with their corrections. Annotate writes one shard of corrections for each shard of pairs."""
    pairs, corrections = store.frames("dedup", "pairs"), store.frames("annotate", "corrections")
    yield from zip(pairs, corrections, strict=True)


def _check_licenses(store: RunStore) -> None:
    import polars as pl

    unlicensed = (
        store.table("dedup", "pairs")
        .filter(pl.col("license").is_null())
        .select("source")
        .unique()
        .sort("source")
        .collect()
    )
    if unlicensed.height:
        raise ReleaseError(
            f"rows of {unlicensed.height} sources have no licence: {', '.join(unlicensed['source'].head(5))}",
            do='give each source its license = "…", or set release.allow_unlicensed = true for use inside one house',
        )
