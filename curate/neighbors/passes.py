"""The passes of dedup over pairs in one total order: exact, lexical, near. Each gives links to earlier rows.

A frame of pairs has the columns row (position in the total order), pair_id, prompt_id, context_key, answer_key,
is_released and those of GUARDS. All links that hold are found first; `followed` then chooses among those of all passes
at once, so that no twin falls in a later pass.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.neighbors import shingles
from curate.neighbors.agreement import exchanged_words, form, negations, normal, numbers, words
from curate.neighbors.cosine import Cosines, Matrix, Numbers, cosines
from curate.neighbors.following import follow

LINKS = pl.Schema(
    {
        "row": pl.Int64,
        "twin": pl.Int64,
        "rule": pl.String,
        "question_similarity": pl.Float64,
        "answer_similarity": pl.Float64,
        "spelling": pl.Float64,
    }
)
GUARDS = ("question_numbers", "answer_numbers", "question_negations", "answer_negations")
"""What two pairs must agree in, in the order in which a near miss is explained by them."""

BLOCKED_BY = (*GUARDS, "answer_words", "question_similarity", "answer_similarity")


@dataclass(frozen=True)
class Bounds:
    """Thresholds: cosines of question and answer, Jaccard of both in the lexical pass, Jaccard of near answers.

    exchanged: two answers that differ in at least one and at most so many exchanged words are not the same: those words
    are what they say. margin: how far below a cosine's threshold a pair is told as a near miss.
    """

    question: float
    answer: float
    lexical: float
    spelling: float
    exchanged: int
    margin: float


def in_order(pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs in the order in which they may stay: released ones, then the better made, then by content id.

    Adds row, context_key, answer_key and the guards' columns; needs is_released, question, turns and answer.
    """
    turns = pl.col("turns").list.eval(pl.element().struct.field("text")).list.join("\n")
    context = pl.concat_str(pl.when(turns != "").then(turns + "\n").otherwise(pl.lit("")), pl.col("question"))
    return (
        pairs.with_columns(
            context=context,
            quality=form(pl.col("question")) + form(pl.col("answer")),
            context_key=normal(context),
            answer_key=normal(pl.col("answer")),
        )
        .with_columns(
            question_numbers=numbers(pl.col("context_key")),
            answer_numbers=numbers(pl.col("answer_key")),
            question_negations=negations(pl.col("context_key")),
            answer_negations=negations(pl.col("answer_key")),
        )
        .sort("is_released", "quality", "pair_id", descending=[True, True, False])
        .with_row_index("row")
        .cast({"row": pl.Int64})
    )


def same_text(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    """Whether two texts are equal after normalisation."""
    return normal(one) == normal(other)


def exact(pairs: pl.DataFrame) -> pl.DataFrame:
    """Links of pairs whose turns equal an earlier one's, and question and answer after normalisation: to the first."""
    same = ["turns", "context_key", "answer_key"]
    first = pairs.select("row", "is_released", twin=pl.col("row").min().over(same))
    return first.filter((pl.col("twin") != pl.col("row")) & ~pl.col("is_released")).select(
        "row",
        "twin",
        rule=pl.lit("dedup.exact"),
        question_similarity=pl.lit(1.0),
        answer_similarity=pl.lit(1.0),
        spelling=pl.lit(1.0),
    )


def lexical(pairs: pl.DataFrame, bounds: Bounds) -> pl.DataFrame:
    """Links of pairs whose question and answer are each spelled nearly as an earlier pair's, and agree in the guards.

    Candidates share a band of MinHash values of both texts together; the real Jaccard similarity decides, and stands
    in the columns of similarities.
    """
    both = pairs.select(pl.concat_str("context_key", "answer_key", separator="\n")).to_series()
    rows, others = shingles.candidates(both.to_list())
    may = ~pairs["is_released"].to_numpy()[rows] & _agree(pairs, rows, others)
    rows, others = rows[may], others[may]
    involved, places = np.unique(np.concatenate([rows, others]), return_inverse=True)
    one, other = places[: len(rows)], places[len(rows) :]
    some = pairs[involved]
    answers = np.zeros(len(rows), dtype=np.float64)
    questions = shingles.similarity(some["context_key"].to_list(), one, other)
    falls = questions >= bounds.lexical
    answers[falls] = shingles.similarity(some["answer_key"].to_list(), one[falls], other[falls])
    falls &= answers >= bounds.lexical
    for key in ("context_key", "answer_key"):
        falls[falls] = ~_is_edited(pairs[key], rows[falls], others[falls], bounds.exchanged)
    told = (questions[falls], answers[falls], answers[falls])
    return _links(pairs, rows[falls], others[falls], "dedup.lexical", told)


@dataclass(frozen=True)
class Questions:
    """Vectors of distinct questions, each pair's place among them, and each pair's cluster (a number)."""

    vectors: Matrix
    of_pair: Numbers
    cluster: Numbers


@dataclass(frozen=True)
class Near:
    """Links of the near pass, near misses (with `blocked_by`), cosines of all answers that were compared."""

    links: pl.DataFrame
    misses: pl.DataFrame
    compared: Cosines


def near(pairs: pl.DataFrame, questions: Questions, embed: Callable[[list[str]], Matrix], bounds: Bounds) -> Near:
    """Links of pairs that say the same as an earlier one of their cluster.

    embed: is given each answer that has a sibling spelled like it in the cluster, and no other: a pair falls only if
    spelling, both cosines and all guards agree, and spelling is the cheapest.
    """
    rows, others, spelling = shingles.alike(pairs["answer_key"].to_list(), questions.cluster, bounds.spelling)
    may = ~pairs["is_released"].to_numpy()[rows]
    rows, others, spelling = rows[may], others[may], spelling[may]
    involved, places = np.unique(np.concatenate([rows, others]), return_inverse=True)
    vectors = embed(pairs["answer"][involved].to_list())
    answers = cosines(vectors, places[: len(rows)], places[len(rows) :])
    asked = cosines(questions.vectors, questions.of_pair[rows], questions.of_pair[others])
    asked[questions.of_pair[rows] == questions.of_pair[others]] = 1.0
    is_near = (asked >= bounds.question) & (answers >= bounds.answer)
    agrees = _agree(pairs, rows, others)
    nearly = (asked >= bounds.question - bounds.margin) & (answers >= bounds.answer - bounds.margin)
    is_edited = np.zeros(len(rows), dtype=bool)
    is_edited[nearly] = _is_edited(pairs["answer_key"], rows[nearly], others[nearly], bounds.exchanged)
    falls = is_near & agrees & ~is_edited
    told = (asked[falls], answers[falls], spelling[falls])
    links = _links(pairs, rows[falls], others[falls], "dedup.near", told)
    nearly &= ~falls
    told = (asked[nearly], answers[nearly], spelling[nearly])
    misses = _misses(pairs, rows[nearly], others[nearly], told, is_edited[nearly], bounds)
    return Near(links, misses, answers)


def followed(links: pl.DataFrame, equals: pl.DataFrame) -> pl.DataFrame:
    """One link for each row that falls, to a row that stays: of all links that hold, the greedy choice in order.

    links: of the lexical and the near pass, among first rows of `exact`. equals: the links of `exact`; where the first
    row falls itself, they lead to its twin by its rule. Of equally good twins of a row the first is chosen.
    """
    found = links.unique(["row", "twin"], keep="first", maintain_order=True)
    rows, others = found["row"].to_numpy(), found["twin"].to_numpy()
    twin = follow(rows, others, found["answer_similarity"].to_numpy(), int(rows.max(initial=-1)) + 1)
    chosen = found.filter(pl.Series(twin[rows] == others, dtype=pl.Boolean))
    through = equals.join(chosen, left_on="twin", right_on="row", how="inner", suffix="_of_first").select(
        "row",
        pl.col("twin_of_first").alias("twin"),
        *(pl.col(f"{name}_of_first").alias(name) for name in list(LINKS)[2:]),
    )
    direct = equals.join(chosen, left_on="twin", right_on="row", how="anti")
    return pl.concat([chosen, through, direct]).sort("row")


def still_missed(misses: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """Near misses of pairs that both stay, of each row the nearest."""
    fallen = links.select("row")
    return (
        misses.join(fallen, on="row", how="anti")
        .join(fallen, left_on="twin", right_on="row", how="anti")
        .sort("row", "answer_similarity", "twin", descending=[False, True, False])
        .unique("row", keep="first", maintain_order=True)
    )


def _is_edited(texts: pl.Series, rows: Numbers, others: Numbers, most: int) -> NDArray[np.bool_]:
    """Whether two texts are the same but for at least one and at most so many words that stand for others."""
    involved, places = np.unique(np.concatenate([rows, others]), return_inverse=True)
    said = texts[involved].to_frame("text").select(words(pl.col("text")))["text"].to_list()
    pairs = zip(places[: len(rows)].tolist(), places[len(rows) :].tolist(), strict=True)
    return np.array([1 <= exchanged_words(said[one], said[other]) <= most for one, other in pairs], dtype=bool)


def _agree(pairs: pl.DataFrame, rows: Numbers, others: Numbers) -> NDArray[np.bool_]:
    agrees = np.ones(len(rows), dtype=bool)
    for guard in GUARDS:
        column = pairs[guard]
        agrees &= (column[rows] == column[others]).to_numpy()
    return agrees


def _links(
    pairs: pl.DataFrame, rows: Numbers, others: Numbers, rule: str, told: tuple[Cosines, Cosines, Cosines]
) -> pl.DataFrame:
    """Links between places of the frame, by the rows' positions in the total order."""
    names = pairs["row"]
    return pl.DataFrame(
        {"row": names[rows], "twin": names[others], "rule": [rule] * len(rows)}
        | dict(zip(list(LINKS)[3:], told, strict=True)),
        schema=LINKS,
    )


def _misses(
    pairs: pl.DataFrame,
    rows: Numbers,
    others: Numbers,
    told: tuple[Cosines, Cosines, Cosines],
    is_edited: NDArray[np.bool_],
    bounds: Bounds,
) -> pl.DataFrame:
    """Near misses and what blocked each first."""
    blocked = [(pairs[guard][rows] != pairs[guard][others]).to_numpy() for guard in GUARDS]
    blocked += [is_edited, told[0] < bounds.question, told[1] < bounds.answer]
    first = np.argmax(np.stack(blocked), axis=0) if len(rows) else np.empty(0, dtype=np.int64)
    links = _links(pairs, rows, others, "", told)
    return links.with_columns(pl.Series("rule", [BLOCKED_BY[place] for place in first], dtype=pl.String)).rename(
        {"rule": "blocked_by"}
    )
