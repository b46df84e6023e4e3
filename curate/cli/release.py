"""`curate release`: numbered releases, made, listed, compared, verified and exported."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from curate.cli import run
from curate.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, PipelineName
from curate.cli.output import diff_text, paragraph, print_json, table

app = typer.Typer(help="Make, list, compare, verify and export releases.", no_args_is_help=True, rich_markup_mode=None)


class Format(StrEnum):
    """The formats of a release."""

    PARQUET = "parquet"
    JSONL = "jsonl"
    JSON = "json"
    TRL = "trl"
    AXOLOTL = "axolotl"
    LLAMA_FACTORY = "llama-factory"


COPIED = {Format.PARQUET, Format.JSONL, Format.JSON}
"""They lie in each release."""


Version = Annotated[str | None, typer.Argument(help="Version, such as 1.0.0; the latest where it is not given.")]


@app.command("create")
def create(pipeline: PipelineName = None, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Make the next version if the triples have changed (the stage `release`)."""
    run.command(stage=run.StageName.RELEASE, pipeline=pipeline, config=config, as_json=as_json)


@app.command("list")
def list_(pipeline: PipelineName = None, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """List all releases, oldest first."""
    from curate.store.releases import SPLITS, manifest_of, versions

    folder = _folder(config, pipeline)
    manifests = [manifest_of(folder / version) for version in versions(folder)]
    if as_json:
        print_json(manifests)
    elif manifests:
        rows = [
            (one["version"], one["rows"], *(one["splits"][split] for split in SPLITS), one["content_root"][:16])
            for one in manifests
        ]
        typer.echo(table(("version", "rows", *SPLITS, "content root"), rows))
    else:
        typer.echo("no release yet: curate run --stage release")


@app.command("diff")
def diff(
    old: Annotated[str, typer.Argument(help="Version.")],
    new: Annotated[str, typer.Argument(help="Version.")],
    limit: Annotated[int, typer.Option(min=0, help="Rows shown at most.")] = 10,
    pipeline: PipelineName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Compare two releases row by row: added, removed and changed pairs."""
    from curate.release.diff import compare
    from curate.store.releases import manifest_of, rows

    folder = _folder(config, pipeline)
    for version in (old, new):
        manifest_of(folder / version)
    counts, changes = compare(rows(folder / old), rows(folder / new))
    shown = changes.head(limit).to_dicts()
    if as_json:
        print_json({"added": counts.added, "removed": counts.removed, "changed": counts.changed, "rows": shown})
        return
    typer.echo(f"{old} -> {new}: {counts.added:,} added, {counts.removed:,} removed, {counts.changed:,} changed")
    for row in shown:
        text = diff_text(row["correction"] or "", row["correction_new"] or "")
        typer.echo(f"\n{row['change']}  pair {row['pair_id']}  by {row['annotator']}\n" + paragraph("", text))


@app.command("verify")
def verify(
    version: Version = None, pipeline: PipelineName = None, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False
) -> None:
    """Check every file of a release against its manifest, and its rows against the content root."""
    from curate.store import releases

    release = _chosen(_folder(config, pipeline), version)
    faults = releases.verify(release)
    if as_json:
        print_json({"version": release.name, "is_whole": not faults, "faults": faults})
    else:
        typer.echo(
            "\n".join(faults) if faults else f"{release.name} is whole: every file and row is as it was released"
        )
    if faults:
        raise typer.Exit(1)


@app.command("export")
def export(
    target: Annotated[Path, typer.Argument(help="Folder to write into; for a trainer a new one.")],
    format_: Annotated[
        Format,
        typer.Option(
            "--format", help="json is what the Aligner reference code reads; the last three are for trainers."
        ),
    ],
    template: Annotated[
        str | None,
        typer.Option(help="For trainers: T1 to T5 or a file of your own; the pipeline's where it is not given."),
    ] = None,
    bos: Annotated[str, typer.Option(help="For trainers: how the base's tokenizer spells BOS, such as <s>.")] = "",
    eos: Annotated[
        str, typer.Option(help="For trainers: how it spells EOS, such as </s>; axolotl and llama-factory need it.")
    ] = "",
    version: Annotated[str | None, typer.Option(help="Version; the latest where it is not given.")] = None,
    pipeline: PipelineName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Copy the files of one format of a release into a folder, or write them for another trainer."""
    from curate.config.reading import read_pipeline
    from curate.store import releases
    from schemas.errors import UsageError

    found = read_pipeline(config, pipeline)
    release = _chosen(found.workdir / "releases", version)
    if format_ in COPIED:
        if template is not None or bos or eos:
            raise UsageError(
                f"--template, --bos and --eos say nothing about {format_.value}, which has a column for each text",
                do="leave them out, or choose --format trl, axolotl or llama-factory",
            )
        paths = releases.export(release, format_.value, target)
    else:
        from curate.release.trainers import Ends, Trainer
        from curate.stages import release_export
        from curate.stages.train_start import start_of
        from curate.training.templates import read_template

        words = start_of(found).template if template is None else read_template(template, Path())
        paths = release_export.export(release, Trainer(format_.value), target, words, Ends(bos, eos))
    files = [str(path) for path in paths]
    if as_json:
        print_json({"version": release.name, "files": files})
    else:
        typer.echo("\n".join(files))


def _folder(config: Path, pipeline: str | None) -> Path:
    from curate.config.reading import read_pipeline

    return read_pipeline(config, pipeline).workdir / "releases"


def _chosen(folder: Path, version: str | None) -> Path:
    from curate.store.releases import manifest_of, versions
    from schemas.errors import ReleaseError

    known = versions(folder)
    if version is None and not known:
        raise ReleaseError(
            f"there is no release in {folder}",
            do="curate run --stage release, with --again where it says that nothing is to do",
        )
    release = folder / (version or known[-1])
    if version is not None and version not in known:
        raise ReleaseError(f"there is no release {version} in {folder}", do=f"releases: {', '.join(known) or 'none'}")
    manifest_of(release)
    return release
