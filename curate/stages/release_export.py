"""A release for teams with a trainer of their own: rows in the words of a template, in that trainer's format."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from curate.stages.train_rows import rendered
from curate.store.atomic import publish_folder, remove_folder
from curate.store.releases import EXPORT, ROW_GROUP_ROWS, SPLITS, manifest_of
from curate.training.templates import Template
from schemas.errors import ReleaseError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from curate.release.trainers import Ends, Trainer


def export(release: Path, trainer: "Trainer", target: Path, template: Template, ends: "Ends") -> list[Path]:
    """Write the folder, whole or not at all, and name its files; one that holds this export already stays as it is.

    Splits without rows have no file. Memory holds 10,000 rows. Raises UsageError where EOS is not known to a format
    that needs it, ReleaseError where the folder holds something else.
    """
    from curate.release.trainers import Trainer, beside

    if trainer is not Trainer.TRL and not ends.eos:
        raise UsageError(
            f"{trainer.value} adds no EOS to a row: a model would never learn to stop",
            do="give the text of the base's EOS token: --eos '</s>'; of its BOS token with --bos where it has one",
        )
    manifest = manifest_of(release)
    splits = [split for split in SPLITS if manifest["splits"][split]]
    told = {
        "format": trainer.value,
        "release": {key: manifest[key] for key in ("name", "version", "content_root")},
        "rows": {split: manifest["splits"][split] for split in splits},
        "template": template.told(),
        "bos": ends.bos,
        "eos": ends.eos,
    }
    texts = {**beside(trainer, splits), EXPORT: json.dumps(told, indent=2, ensure_ascii=False) + "\n"}
    names = [*(f"{split}.jsonl" for split in splits), *texts]
    folder = target.resolve()
    if not _is_there(folder, names, texts[EXPORT]):
        scratch = folder.with_name(f".{folder.name}.scratch")
        remove_folder(scratch)
        scratch.mkdir(parents=True)
        for split in splits:
            with (scratch / f"{split}.jsonl").open("wb") as lines:
                for frame in _frames(release / "data" / f"{split}.parquet", trainer, template, ends):
                    lines.write(frame.write_ndjson().encode("utf-8"))
        for name, text in texts.items():
            (scratch / name).write_text(text, encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        publish_folder(scratch, folder)
    return [target / name for name in names]


def _is_there(folder: Path, names: list[str], told: str) -> bool:
    """Whether the folder holds this export; False where it is absent or empty."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    is_same = (folder / EXPORT).is_file() and (folder / EXPORT).read_bytes() == told.encode("utf-8")
    if not is_same or not all((folder / name).is_file() for name in names):
        raise ReleaseError(
            f"{folder} is there already, and is not this export whole",
            do="name another folder, or remove that one: formats and releases are never mixed",
        )
    return True


def _frames(path: Path, trainer: "Trainer", template: Template, ends: "Ends") -> "Iterator[pl.DataFrame]":
    import polars as pl

    from curate.release.trainers import rows

    table = pl.scan_parquet(path)
    for start in range(0, table.select(pl.len()).collect().item(), ROW_GROUP_ROWS):
        triples = table.slice(start, ROW_GROUP_ROWS).collect()
        texts = pl.DataFrame(
            {
                "triple_id": triples["triple_id"],
                "prompt": rendered(triples, template),
                "completion": [template.target(text) for text in triples["correction"]],
            }
        )
        yield rows(texts, trainer, ends)
