"""Dedup: answers join their prompts to pairs; pairs that say the same as another one leave, with that one's name.

Pair filter, then exact duplicates, then near-duplicates: questions form clusters by embedding, and inside a cluster
an answer falls only if its cosine and the guards of `curate.neighbors.says_the_same` agree.
"""

from typing import TYPE_CHECKING, Any

from curate.config.model import Pipeline
from curate.progress import Progress
from curate.store.run import SHARD_ROWS, RunStore

if TYPE_CHECKING:
    import polars as pl

NAME = "dedup"
VERSION = 1


def key(pipeline: Pipeline, store: RunStore) -> dict[str, Any]:
    """Content of prompts and answers, model and thresholds."""
    config = pipeline.config.dedup
    return {
        "stage": NAME,
        "version": VERSION,
        "prompts": store.published("filter").content("prompts"),
        "answers": store.published("generate").content("answers"),
        "model": config.model,
        "question_similarity": config.question_similarity,
        "answer_similarity": config.answer_similarity,
    }


def run(pipeline: Pipeline, store: RunStore, key: dict[str, Any], progress: Progress) -> None:
    """Holds all pairs and their embeddings: about 1.5 kB a text of 384 dimensions beside the texts themselves."""
    import polars as pl

    from curate.embed import Embedder

    config = pipeline.config.dedup
    rows_in = store.published("generate").rows("answers")
    with store.draft(NAME, key, unit="pair", kept="pairs") as draft:
        pairs = _pairs(store)
        echoes = _echoes(pairs)
        pairs = pairs.join(echoes, left_on="pair_id", right_on="row_id", how="anti", maintain_order="left")
        repeats = _exact(pairs)
        pairs = pairs.join(repeats, left_on="pair_id", right_on="row_id", how="anti", maintain_order="left")
        if pairs.height:
            embedder = Embedder(config.model, config.device, config.batch_tokens)
            progress.say(f"embedding on {embedder.device}, join by FAISS on CPU")
            pairs, clusters = _cluster(pairs, embedder, config.question_similarity, progress)
            near = _near(pairs, embedder, config.answer_similarity, progress)
        else:
            clusters, near = _no_clusters(), repeats.clear()
        pairs = pairs.join(near, left_on="pair_id", right_on="row_id", how="anti", maintain_order="left")
        for start in range(0, max(1, pairs.height), SHARD_ROWS):
            draft.write("pairs", _columns(pairs[start : start + SHARD_ROWS]))
        draft.write("verdicts", pl.concat([echoes, repeats, near]).sort("row_id", "rule"))
        draft.write("clusters", clusters)
        draft.publish(rows_in=rows_in)


def _pairs(store: RunStore) -> "pl.DataFrame":
    """Every answer with its prompt, in the total order of dedup: by content id, never by position."""
    import polars as pl

    prompts = store.table("filter", "prompts").rename({"text": "question"})
    answers = store.table("generate", "answers").select(
        pl.col("answer_id").alias("pair_id"), "prompt_id", pl.col("text").alias("answer"), "model"
    )
    return (
        answers.join(prompts, on="prompt_id", how="inner", validate="m:1")
        .with_columns(_normal(pl.col("question")).alias("question_key"), _normal(pl.col("answer")).alias("answer_key"))
        .sort("pair_id")
        .collect()
    )


def _normal(text: "pl.Expr") -> "pl.Expr":
    """Equal after this means an exact duplicate: compatibility forms, case and white space do not count."""
    return text.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()


def _echoes(pairs: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    echoes = pairs.filter(pl.col("question_key") == pl.col("answer_key"))
    return _verdicts(echoes.with_columns(score=pl.lit(1.0), twin_id=pl.lit(None, pl.String)), "pair.echo", 1.0)


def _exact(pairs: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    same = ["question_key", "answer_key", "turns"]
    marked = pairs.with_columns(twin_id=pl.col("pair_id").first().over(same), score=pl.lit(1.0))
    return _verdicts(marked.filter(pl.col("twin_id") != pl.col("pair_id")), "dedup.exact", 1.0)


def _cluster(
    pairs: "pl.DataFrame", embedder: Any, threshold: float, progress: Progress
) -> tuple["pl.DataFrame", "pl.DataFrame"]:
    """The pairs with their `cluster_id` (the prompt id of the leading question), and the table of clusters."""
    import numpy as np
    import polars as pl

    from curate.neighbors import leaders

    questions = pairs.unique("prompt_id", keep="first", maintain_order=True).sort("prompt_id")
    texts = [
        "\n".join([*(turn["text"] for turn in turns), question])
        for turns, question in questions.select("turns", "question").iter_rows()
    ]
    progress.say(f"embedding {len(texts):,} questions")
    found = leaders(np.asarray(embedder.encode(texts)), threshold)
    ids = questions["prompt_id"].to_numpy()
    clusters = pl.DataFrame(
        {"prompt_id": questions["prompt_id"], "cluster_id": ids[found.leader], "similarity": found.similarity}
    ).with_columns(pl.col("cluster_id").cast(pl.String))
    return pairs.join(
        clusters.drop("similarity"), on="prompt_id", how="left", validate="m:1", maintain_order="left"
    ), clusters


def _near(pairs: "pl.DataFrame", embedder: Any, threshold: float, progress: Progress) -> "pl.DataFrame":
    """Verdicts against answers that say the same as a kept one in their cluster."""
    import numpy as np
    import polars as pl

    from curate.neighbors import group_leaders

    shared = pairs.filter(pl.len().over("cluster_id") > 1).sort("cluster_id", "pair_id")
    if shared.is_empty():
        return _verdicts(
            shared.with_columns(score=pl.lit(0.0), twin_id=pl.lit(None, pl.String)), "dedup.near", threshold
        )
    progress.say(f"embedding {shared.height:,} answers that share a question cluster")
    vectors = np.asarray(embedder.encode(shared["answer"].to_list()))
    texts = shared["answer_key"].to_list()
    ids = shared["pair_id"].to_list()
    twins: list[str | None] = [None] * shared.height
    scores = [0.0] * shared.height
    start = 0
    for size in shared.group_by("cluster_id", maintain_order=True).len()["len"].to_list():
        found = group_leaders(
            vectors[start : start + size],
            threshold,
            texts[start : start + size],
        )
        for row in range(size):
            if found.leader[row] != row:
                twins[start + row] = ids[start + int(found.leader[row])]
                scores[start + row] = float(found.similarity[row])
        start += size
    marked = shared.with_columns(
        twin_id=pl.Series(twins, dtype=pl.String), score=pl.Series(scores, dtype=pl.Float64)
    ).filter(pl.col("twin_id").is_not_null())
    return _verdicts(marked, "dedup.near", threshold)


def _verdicts(rows: "pl.DataFrame", rule: str, threshold: float) -> "pl.DataFrame":
    """Verdicts against all rows of a frame with pair_id, score and twin_id."""
    import polars as pl

    return rows.select(
        pl.col("pair_id").alias("row_id"),
        pl.lit(NAME).alias("stage"),
        pl.lit(rule).alias("rule"),
        pl.col("score").cast(pl.Float64),
        pl.lit(threshold).alias("threshold"),
        pl.lit(value=False).alias("kept"),
        pl.col("twin_id").cast(pl.String),
        pl.lit(None, pl.String).alias("note"),
    )


def _columns(pairs: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    from schemas.tables import Pairs

    if "cluster_id" not in pairs.columns:
        pairs = pairs.with_columns(pl.lit(None, pl.String).alias("cluster_id"))
    return pairs.select(Pairs.column_names())


def _no_clusters() -> "pl.DataFrame":
    import polars as pl

    return pl.DataFrame(schema={"prompt_id": pl.String, "cluster_id": pl.String, "similarity": pl.Float64})
