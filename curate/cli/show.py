"""`curate show`: rows of a table; where a row holds an answer and its correction, as a word diff."""

from typing import Annotated, Any

import typer

from curate.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, PipelineName
from curate.cli.output import diff_text, paragraph, print_json, visible
from curate.cli.output import table as as_table

COUNTS = ("similarities", "drops", "annotators", "agreement")
"""Tables of numbers: shown whole, as columns."""

DIFFED = ("question", "answer", "correction", "aligner_correction")


def command(
    table: Annotated[
        str,
        typer.Argument(
            help="prompts, scores, preferences, answers, pairs, clusters, leaders, duplicates, near_misses, "
            "borderline, similarities, drops, corrections, candidates, annotators, agreement, waiting, recipes, "
            "triples, rows, samples, corrected, verdicts, failures."
        ),
    ],
    where: Annotated[list[str] | None, typer.Option(help="column=value; may be given more than once.")] = None,
    stage: Annotated[str | None, typer.Option(help="The stage whose table is meant, where several have one.")] = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only rows whose correction differs.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Rows at most; 10, or all of a table of counts.")] = None,
    pipeline: PipelineName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show rows of a table, with the diff of answer and correction."""
    from curate.config.reading import read_pipeline
    from curate.report import rows
    from schemas.errors import UsageError

    wanted = dict(part.partition("=")[::2] for part in where or [])
    if any("=" not in part for part in where or []):
        raise UsageError("--where needs column=value", do="such as --where model=vicuna-7b")
    found = rows(
        read_pipeline(config, pipeline),
        table,
        stage,
        wanted,
        limit or (None if table in COUNTS else 10),
        changed=changed,
    )
    if as_json:
        print_json(found)
        return
    if table == "annotators" and found:
        names, measures = [row["annotator"] for row in found], [name for name in found[0] if name != "annotator"]
        typer.echo(
            as_table(["", *map(visible, names)], [[name, *(_short(row[name]) for row in found)] for name in measures])
        )
        return
    if table in COUNTS and found:
        typer.echo(as_table(list(found[0]), [[_short(value) for value in row.values()] for row in found]))
        return
    typer.echo("\n\n".join(_shown(row) for row in found) if found else "no rows")


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def _shown(row: dict[str, Any]) -> str:
    if "twin_question" in row:
        return _shown_twins(row)
    if "members" in row:
        return _shown_cluster(row)
    lines = []
    if "question" in row:
        lines.append(paragraph("question", visible(row["question"])))
    if row.get("correction") is not None and "answer" in row:
        is_same = row["answer"] == row["correction"]
        text = visible(row["answer"]) if is_same else diff_text(row["answer"], row["correction"])
        lines.append(paragraph("unchanged" if is_same else "correction", text))
        if "aligner_correction" in row:
            lines.append(paragraph("aligner", diff_text(row["answer"], row["aligner_correction"])))
    elif "answer" in row:
        lines.append(paragraph("answer", visible(row["answer"])))
    rest = {name: value for name, value in row.items() if name not in DIFFED and value not in (None, [])}
    if lines:
        row_id = next((name for name in ("triple_id", "correction_id", "pair_id", "preference_id") if name in rest), "")
        keys = (row_id, "upstream_model", "model", "annotator", "reason", "split", "phase", "step")
        shown = {name: rest[name] for name in keys if name in rest}
        return "\n".join(
            [*lines, "           " + visible("  ".join(f"{name} {value}" for name, value in shown.items()))]
        )
    return "\n".join(f"{name:<22} {visible(str(value))}" for name, value in rest.items())


def _shown_twins(row: dict[str, Any]) -> str:
    """A pair beside its twin: what the twin says, and what the row says otherwise."""
    texts = [
        paragraph(name, diff_text(row[f"twin_{name}"], row[name]))
        if row[f"twin_{name}"] != row[name]
        else paragraph(name, visible(row[name]))
        for name in ("question", "answer")
    ]
    hidden = ("question", "answer", "twin_question", "twin_answer", "twin_is_released")
    rest = {name: value for name, value in row.items() if name not in hidden and value is not None}
    told = [f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}" for name, value in rest.items()]
    return "\n".join([*texts, "           " + visible("  ".join(told))])


def _shown_cluster(row: dict[str, Any]) -> str:
    """The questions of a cluster, each with its cosine to the leader; the leader first."""
    lines = [
        paragraph(
            "leader" if member["similarity"] is None else f"{member['similarity']:.4f}",
            visible(str(member["question"] or "a question of an earlier release")),
        )
        for member in row["members"]
    ]
    return "\n".join([f"cluster {row['cluster_id']}, {row['size']} questions", *lines])
