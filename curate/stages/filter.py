"""Filter: which prompts are good enough to be answered. Scores first, thresholds later; unsafe requests stay."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from curate.config.model import FilterConfig, Pipeline
from curate.progress import Progress
from curate.rules.registry import find_rules
from curate.store.run import RunStore

if TYPE_CHECKING:
    import polars as pl

NAME = "filter"
VERSION = 1
LANGUAGE = "language.allowed"


def key(pipeline: Pipeline, store: RunStore) -> dict[str, Any]:
    """The prompts' content, thresholds, and the version of each rule."""
    config = pipeline.config.filter
    names = [*config.thresholds, *config.tags]
    rules = {name: rule.version for name, rule in find_rules(names).items()}
    prompts = store.published("import").content("prompts")
    return {
        "stage": NAME,
        "scores": {"version": VERSION, "prompts": prompts, "rules": rules, "detects_language": bool(config.languages)},
        "thresholds": {name: bounds.model_dump() for name, bounds in config.thresholds.items()},
        "tags": list(config.tags),
        "languages": sorted(config.languages),
    }


def run(pipeline: Pipeline, store: RunStore, key: dict[str, Any], progress: Progress) -> None:
    """Judge the prompts shard by shard; scores that are still good are read, not computed."""
    import polars as pl

    from curate.rules.judging import judge, kept, tag

    config = pipeline.config.filter
    rows_in = store.published("import").rows("prompts")
    known = store.manifest(NAME)
    are_known = (
        known is not None
        and known.key.get("scores") == key["scores"]
        and not config.languages
        and not store.touched(known)
    )
    with store.draft(NAME, key, unit="prompt", kept="prompts") as draft:
        done = 0
        scored = _known_scores(store) if are_known else _new_scores(store, config)
        for prompts, scores in scored:
            verdicts = pl.concat(
                [
                    judge(scores, config.thresholds, NAME),
                    _languages(prompts, config),
                    tag(scores, config.tags, NAME),
                ]
            )
            draft.write("scores", scores)
            draft.write("verdicts", verdicts)
            draft.write("prompts", kept(prompts, "prompt_id", verdicts))
            done += prompts.height
            progress.update(f"{done:,} of {rows_in:,} prompts")
        draft.publish(rows_in=rows_in)


Scored = Iterator[tuple["pl.DataFrame", "pl.DataFrame"]]


def _known_scores(store: RunStore) -> Scored:
    yield from zip(store.frames("import", "prompts"), store.frames(NAME, "scores"), strict=True)


def _new_scores(store: RunStore, config: FilterConfig) -> Scored:
    import polars as pl

    from curate.rules.judging import said, score
    from curate.rules.language import detect

    rules = find_rules([*config.thresholds, *config.tags])
    for prompts in store.frames("import", "prompts"):
        if config.languages:
            languages = pl.Series("language", detect(prompts["text"].to_list(), config.languages), dtype=pl.String)
            prompts_with_language = prompts.with_columns(languages)
        else:
            prompts_with_language = prompts
        yield prompts_with_language, score(prompts.with_columns(said("text").alias("said")), "prompt_id", "said", rules)


def _languages(prompts: "pl.DataFrame", config: FilterConfig) -> "pl.DataFrame":
    """A verdict against each prompt in another language than configured; an undecided one is kept."""
    import polars as pl

    from curate.rules.judging import no_verdicts
    from curate.rules.language import UNDECIDED

    if not config.languages:
        return no_verdicts()
    return prompts.filter(~pl.col("language").is_in([*config.languages, UNDECIDED])).select(
        pl.col("prompt_id").alias("row_id"),
        pl.lit(NAME).alias("stage"),
        pl.lit(LANGUAGE).alias("rule"),
        pl.lit(0.0).alias("score"),
        pl.lit(1.0).alias("threshold"),
        pl.lit(value=False).alias("kept"),
        pl.lit(None, pl.String).alias("twin_id"),
        pl.col("language").alias("note"),
    )
