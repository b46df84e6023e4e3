"""How far people are with some pairs: the configuration's draws and drafts, and what the ledger says."""

from collections.abc import Iterator, Mapping, Sequence

from annotators.label_studio.tasks import shown_question
from curate.assignment import uniforms
from curate.config.annotating import AnnotatorConfig
from curate.config.model import Pipeline
from curate.labelling.workflow import Asked, Standing, standing
from curate.ledger.labels import Rulings
from schemas.records import CorrectionTask


def standings(
    pipeline: Pipeline, one: AnnotatorConfig, tasks: Sequence[CorrectionTask], drafts: Mapping[str, str], said: Rulings
) -> dict[str, Standing]:
    """Of each task's pair, what some people made of it. drafts: by pair, where a model wrote one."""
    return {asked.pair_id: standing(asked, said) for asked in _asked(pipeline, one, tasks, drafts)}


def _asked(
    pipeline: Pipeline, one: AnnotatorConfig, tasks: Sequence[CorrectionTask], drafts: Mapping[str, str]
) -> Iterator[Asked]:
    """Draws depend on pair, annotator and seed alone."""
    import polars as pl

    ids, seed = pl.Series("pair_id", [task.pair_id for task in tasks], dtype=pl.String), pipeline.config.seed
    overlap = uniforms(ids, f"people of {one.name}", seed) < (one.overlap.share if one.overlap else 0.0)
    inspected = uniforms(ids, f"inspection of {one.name}", seed) < one.inspect_share
    for task, is_shared, is_inspected in zip(tasks, overlap.to_list(), inspected.to_list(), strict=True):
        yield Asked(
            pipeline.name,
            one.name,
            task.pair_id,
            shown_question(task),
            task.answer,
            drafts.get(task.pair_id, task.answer),
            one.overlap.people if one.overlap is not None and is_shared else 1,
            one.workflow == "two-stage",
            is_inspected,
        )
