"""Dedup: answers join their prompts to pairs; pairs that say the same as another one leave, with that one's name.

Pair filter, then exact, lexical and near duplicates, each in one total order, so that every twin stays. What the passes
mean stands in `curate.neighbors`, vectors and joins in `curate.embed`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.config.model import Pipeline
from curate.config.sources import SourceConfig
from curate.identity import file_hash, fingerprint
from curate.progress import Progress
from curate.sources.files import matching
from curate.store.releases import manifest_of, rows, verify
from curate.store.run import SHARD_ROWS, Draft, RunStore
from schemas.errors import ReleaseError, SourceError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from curate.embed.space import Space
    from curate.neighbors.leading import Leaders
    from curate.neighbors.passes import Bounds, Near

NAME = "dedup"
VERSION = 2
INDEXED_AT_ONCE = 65_536
DECIDING = (
    *("question_similarity", "answer_similarity", "shingle_similarity", "lexical_similarity"),
    *("exchanged_words", "near_miss_margin", "cells_beyond"),
)
PAIR_COLUMNS = ("prompt_id", "question", "turns", "answer", "source", "source_row", "license", "language")


def key(pipeline: Pipeline, store: RunStore) -> dict[str, Any]:
    """Content of prompts, answers, earlier releases and evaluation sets; model, thresholds and versions of rules."""
    from curate.embed.space import settings_of
    from curate.neighbors import RULES

    config = pipeline.config.dedup
    return {
        "stage": NAME,
        "version": VERSION,
        "rules": RULES,
        "prompts": store.published("filter").content("prompts"),
        "answers": store.published("generate").content("answers"),
        "embedding": settings_of(pipeline).describe(),
        "thresholds": config.model_dump(include=set(DECIDING)),
        "releases": [_content_root(pipeline.path(name)) for name in config.releases],
        "evaluation": [
            {"shape": source.shape, "field": source.field, "sha256": file_hash(pipeline.path(name))}
            for source, name in _evaluation_files(pipeline)
        ],
    }


def run(pipeline: Pipeline, store: RunStore, key: dict[str, Any], progress: Progress) -> None:
    """Holds all pairs with their texts, and of each question at the peak two vectors: 3 kB for 384 dimensions."""
    import polars as pl

    from curate.embed.space import open_space
    from curate.neighbors import explained, passes
    from curate.neighbors.kept import find_faiss

    find_faiss()
    config = pipeline.config.dedup
    bounds = passes.Bounds(
        config.question_similarity,
        config.answer_similarity,
        config.lexical_similarity,
        config.shingle_similarity,
        config.exchanged_words,
        config.near_miss_margin,
    )
    saved = store.workdir / NAME / "leaders.npz"
    space = open_space(pipeline, saved, progress)
    with store.draft(NAME, key, unit="pair", kept="pairs") as draft:
        here = _pairs(store)
        is_echo = passes.same_text(pl.col("question"), pl.col("answer"))
        echoes = here.filter(is_echo)
        pairs = passes.in_order(_with_released(pipeline, here.filter(~is_echo)))
        contaminated = _contaminated(pipeline, pairs, space, bounds.question)
        rest = _without(pairs, contaminated)
        exact = passes.exact(rest)
        rest = _without(rest, exact)
        progress.say(f"{here.height:,} pairs, {exact.height:,} of them exact duplicates; now those alike in letters")
        lexical = passes.lexical(rest, bounds)
        near, clusters, sampled = _near(rest, space, bounds, fingerprint(key), draft)
        links = passes.followed(pl.concat([lexical, near.links]), exact)
        duplicates = explained.told(pairs, links, config.model, bounds)
        dropped = pl.concat(
            [explained.verdicts(duplicates, bounds), _echo_verdicts(echoes), _verdicts_of(pairs, contaminated, bounds)]
        )
        staying = _without(pairs, links, contaminated).filter("is_here").drop("cluster_id")
        staying = staying.join(clusters.select("prompt_id", "cluster_id"), on="prompt_id", how="left").sort("pair_id")
        for start in range(0, max(1, staying.height), SHARD_ROWS):
            draft.write("pairs", _columns(staying[start : start + SHARD_ROWS]))
        misses = explained.told(pairs, passes.still_missed(near.misses, links), config.model, bounds)
        draft.write("verdicts", dropped.sort("row_id", "rule"))
        draft.write("clusters", clusters.sort("prompt_id"))
        draft.write("duplicates", duplicates)
        draft.write("near_misses", misses)
        draft.write("borderline", explained.borderline(duplicates, misses, bounds))
        draft.write("similarities", explained.histogram({"question": sampled, "answer": near.compared}))
        draft.write("drops", explained.drops(here, dropped))
        draft.publish(rows_in=here.height)
    space.forget()


def _pairs(store: RunStore) -> "pl.DataFrame":
    """Every answer with its prompt."""
    import polars as pl

    prompts = store.table("filter", "prompts").rename({"text": "question"})
    answers = store.table("generate", "answers").select(
        pl.col("answer_id").alias("pair_id"), "prompt_id", pl.col("text").alias("answer"), "model"
    )
    return answers.join(prompts, on="prompt_id", how="inner", validate="m:1").sort("pair_id").collect()


def _with_released(pipeline: Pipeline, here: "pl.DataFrame") -> "pl.DataFrame":
    """The pairs and those of earlier releases, each once; is_here: of this run, is_released: of a release."""
    import polars as pl

    theirs = [
        rows(pipeline.path(name)).select(
            "pair_id", *PAIR_COLUMNS, "cluster_id", pl.col("upstream_model").alias("model")
        )
        for name in pipeline.config.dedup.releases
    ]
    for name in pipeline.config.dedup.releases:
        if faults := verify(pipeline.path(name)):
            raise ReleaseError(f"{name} is damaged: {faults[0]}", do="restore the release from a copy")
    if not theirs:
        return here.with_columns(pl.lit(None, pl.String).alias("cluster_id"), is_here=True, is_released=False)
    released = pl.concat(theirs).unique("pair_id", keep="first", maintain_order=True).collect()
    known = released.select("pair_id", "cluster_id", pl.lit(value=True).alias("is_released"))
    both = here.join(known, on="pair_id", how="left", maintain_order="left").with_columns(
        pl.col("is_released").fill_null(value=False), is_here=True
    )
    others = released.join(here, on="pair_id", how="anti").with_columns(is_released=True, is_here=False)
    return pl.concat([both, others.select(both.columns)])


def _content_root(release: Path) -> str:
    """What a release holds, as its manifest says. Raises ReleaseError where the directory is none."""
    try:
        return str(manifest_of(release)["content_root"])
    except (KeyError, TypeError, OSError) as error:
        raise ReleaseError(f"{release} is no release", do="name a directory such as runs/…/releases/1.0.0") from error


def _without(pairs: "pl.DataFrame", *fallen: "pl.DataFrame") -> "pl.DataFrame":
    for rows_of in fallen:
        pairs = pairs.join(rows_of.select("row"), on="row", how="anti", maintain_order="left")
    return pairs


def _contaminated(pipeline: Pipeline, pairs: "pl.DataFrame", space: "Space", threshold: float) -> "pl.DataFrame":
    """Rows of this run whose question is near to one of an evaluation set, with that one's name and the cosine."""
    import polars as pl

    found = {"row": pl.Int64, "twin_id": pl.String, "similarity": pl.Float64}
    theirs = list(_evaluation_questions(pipeline))
    if not theirs or pairs.is_empty():
        return pl.DataFrame(schema=found)
    ours = pairs.unique("prompt_id", keep="first", maintain_order=True)
    near = space.nearest(ours["context"].to_list(), [text for _, text in theirs], threshold)
    named = pl.Series([theirs[number][0] if number >= 0 else None for number in near.leader.tolist()], dtype=pl.String)
    prompts = ours.select("prompt_id", twin_id=named, similarity=pl.Series(near.similarity)).drop_nulls("twin_id")
    return pairs.filter("is_here").join(prompts, on="prompt_id", maintain_order="left").select(list(found))


def _near(
    pairs: "pl.DataFrame", space: "Space", bounds: "Bounds", stage_key: str, draft: Draft
) -> "tuple[Near, pl.DataFrame, NDArray[np.float64]]":
    """The near pass and the table of clusters; the index of leading questions becomes a file of the stage."""
    import numpy as np
    import polars as pl

    from curate.neighbors import passes
    from curate.neighbors.explained import sampled_similarities

    questions = pairs.unique("prompt_id", keep="first", maintain_order=True).with_columns(
        place=pl.int_range(pl.len(), dtype=pl.Int64)
    )
    vectors = space.embed("questions", questions["context"].to_list())
    seeds = int(questions["is_released"].sum())
    leaders = space.lead(vectors, bounds.question, bounds.question - bounds.margin, seeds, stage_key)
    sampled = sampled_similarities(vectors, leaders)
    _tell_recall(space, sampled, leaders, bounds.question)
    draft.write("leaders", _write_index(draft, vectors, questions, leaders))
    question_of = pairs.join(questions.select("prompt_id", "place"), on="prompt_id", how="left", maintain_order="left")
    places = question_of["place"].to_numpy()
    near = passes.near(
        pairs,
        passes.Questions(vectors, places, leaders.leader[places]),
        lambda texts: space.embed("answers that have a sibling", texts),
        bounds,
    )
    clusters = questions.select(
        "prompt_id",
        questions.select(pl.coalesce("cluster_id", "prompt_id"))["cluster_id"][leaders.leader].alias("cluster_id"),
        nearest_id=questions["prompt_id"][np.maximum(leaders.nearest, 0)].set(pl.Series(leaders.nearest < 0), None),
        similarity=pl.Series(leaders.similarity, dtype=pl.Float64).fill_nan(None),
    )
    return near, clusters, sampled


def _tell_recall(space: "Space", sampled: "NDArray[np.float64]", leaders: "Leaders", threshold: float) -> None:
    """Cells may miss a leader: of sampled leaders, how many have one before them after all."""
    if len(leaders) <= space.config.cells_beyond or not len(sampled):
        return
    leading = int(leaders.is_leader.sum())
    followers, missed = len(leaders) - leading, float((sampled >= threshold).mean()) * leading
    recall = followers / (followers + missed) if followers else 1.0
    space.progress.say(f"recall of the cells: {recall:.4f}, from {len(sampled):,} leaders against all before them")


def _write_index(
    draft: Draft, vectors: "NDArray[np.float32]", questions: "pl.DataFrame", leaders: "Leaders"
) -> "pl.DataFrame":
    """A flat FAISS index (inner product) of the leading questions; the table of whose number is which prompt."""
    import numpy as np
    import polars as pl

    from curate.neighbors.kept import find_faiss

    faiss = find_faiss()
    positions = np.flatnonzero(leaders.is_leader)
    index = faiss.IndexFlatIP(max(1, vectors.shape[1]))
    for start in range(0, len(positions), INDEXED_AT_ONCE):
        index.add(np.ascontiguousarray(vectors[positions[start : start + INDEXED_AT_ONCE]]))
    faiss.write_index(index, str(draft.file("questions.faiss")))
    return pl.DataFrame({"number": np.arange(len(positions)), "prompt_id": questions["prompt_id"][positions]})


def _evaluation_files(pipeline: Pipeline) -> Iterator[tuple[SourceConfig, str]]:
    for source in pipeline.config.dedup.evaluation:
        for name in matching(pipeline.folder, source.path):
            yield source, name


def _evaluation_questions(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    """Name and text of each question of the evaluation sets. Raises SourceError at a row that holds none."""
    from curate.sources.prompts import prompts
    from curate.sources.readers import Broken

    for source, name in _evaluation_files(pipeline):
        for row, found in prompts(pipeline.path(name), name, source.shape, source.field):
            if isinstance(found, Broken):
                raise SourceError(
                    f"{name}:{row}: {found.detail}", do="an evaluation set must be whole: correct or remove the row"
                )
            yield f"{name}:{row}", "\n".join([*(turn.text for turn in found.turns), found.text])


def _echo_verdicts(echoes: "pl.DataFrame") -> "pl.DataFrame":
    return _against(echoes, "pair.echo", 1.0, score=1.0, twin_id=None)


def _verdicts_of(pairs: "pl.DataFrame", contaminated: "pl.DataFrame", bounds: "Bounds") -> "pl.DataFrame":
    found = contaminated.join(pairs.select("row", "pair_id"), on="row", how="inner")
    return _against(found, "dedup.evaluation", bounds.question, score="similarity", twin_id="twin_id")


def _against(
    rows_of: "pl.DataFrame", rule: str, threshold: float, *, score: str | float, twin_id: str | None
) -> "pl.DataFrame":
    import polars as pl

    return rows_of.select(
        pl.col("pair_id").alias("row_id"),
        pl.lit(NAME).alias("stage"),
        pl.lit(rule).alias("rule"),
        (pl.col(score) if isinstance(score, str) else pl.lit(score)).alias("score"),
        pl.lit(threshold).alias("threshold"),
        pl.lit(value=False).alias("kept"),
        (pl.lit(None, pl.String) if twin_id is None else pl.col(twin_id)).alias("twin_id"),
        pl.lit(None, pl.String).alias("note"),
    )


def _columns(pairs: "pl.DataFrame") -> "pl.DataFrame":
    from schemas.tables import Pairs

    return pairs.select(Pairs.column_names())
