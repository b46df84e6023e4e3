"""What a training starts from: a model from scratch, a pretrained base, or an Aligner that was trained before."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.config.model import Pipeline
from curate.identity import folder_digest
from curate.store.run import RunStore
from curate.training.folder import FILE, aligner_id, read_aligner_template, read_learned, read_told
from curate.training.settings import BASES
from curate.training.templates import Template, read_template
from schemas.errors import StageError

STAGE, MODEL = "train", "aligner"
"""Where a training lies in its working directory, and the folder of the trained model in what it published."""

TEMPLATE, WARMUP_SHARE = "T1", 0.2
"""Where neither the configuration nor an Aligner says another one."""


@dataclass(frozen=True)
class Start:
    """base: what transformers loads, None for a model from scratch. name: what the configuration calls it.

    parent: the Aligner's folder where it is one.
    """

    base: str | None
    name: str | None
    is_local: bool
    template: Template
    warmup_share: float
    parent: Path | None = None

    @property
    def told(self) -> str | None:
        """Its name for others: of a folder the last part alone, as where it lay is nobody's matter."""
        return Path(self.name).name if self.name and self.is_local else self.name

    def settings(self) -> dict[str, Any]:
        """For the stage's key: of a local folder a digest of its files, whatever its name."""
        digest = folder_digest(Path(str(self.base))) if self.is_local else self.base
        return {
            "base": None if self.parent else digest,
            "aligner": digest if self.parent else None,
            "template": self.template.name,
            "warmup_share": self.warmup_share,
        }


@dataclass(frozen=True)
class Parent:
    """The Aligner that training goes on from. learned: ids of triples, None where it does not say what it learned."""

    aligner_id: str
    base: str | None
    is_local_base: bool
    release: Mapping[str, Any] | None
    learned: frozenset[str] | None

    def told(self) -> dict[str, Any]:
        """For `aligner.json`."""
        return {
            "base": self.base,
            "is_local_base": self.is_local_base,
            "parent": {"aligner_id": self.aligner_id, "release": self.release},
        }


def start_of(pipeline: Pipeline) -> Start:
    """Reads small files only. Raises StageError where `train.aligner` is none, or learned with another template."""
    config = pipeline.config.train
    share = config.warmup_share
    if config.aligner is None:
        name = config.base or BASES[config.preset]
        is_local = name is not None and pipeline.path(name).is_dir()
        base = str(pipeline.path(str(name))) if is_local else name
        template = read_template(config.template or TEMPLATE, pipeline.folder)
        return Start(base, name, is_local, template, WARMUP_SHARE if share is None else share)
    folder = _published(pipeline, config.aligner)
    template = read_aligner_template(folder)
    if config.template is not None:
        asked = read_template(config.template, pipeline.folder)
        if asked.template_id != template.template_id:
            raise StageError(
                f"train.template {asked.name} ({asked.template_id}) is not what {folder} learned with: "
                f"{template.name} ({template.template_id})",
                do="remove train.template to take the Aligner's, or start from train.base",
            )
    return Start(str(folder), config.aligner, True, template, share or 0.0, folder)


def parent_of(folder: Path) -> Parent:
    """Reads all files of the folder once."""
    told = read_told(folder)
    base, is_local, release = (told.get(name) for name in ("base", "is_local_base", "release"))
    if not isinstance(base, str | None) or not (release is None or {"name", "version"} <= set(release)):
        raise StageError(
            f"{folder / FILE} is damaged: its base or release is none", do="copy the Aligner's folder anew"
        )
    return Parent(aligner_id(folder), base, bool(is_local), release, read_learned(folder))


def _published(pipeline: Pipeline, named: str) -> Path:
    """An Aligner's own folder; of a training's folder, `runs/NAME/train`, the Aligner that it published last."""
    try:
        folder = pipeline.path(named).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name that cannot be one
        raise StageError(f"train.aligner {named!r} is no folder: {error}", do="name an Aligner's folder") from error
    if (folder / "manifest.json").is_file():
        folder = RunStore(folder.parent).file(folder.name, MODEL)
    if folder.is_relative_to(pipeline.workdir / STAGE):
        raise StageError(
            f"train.aligner names what this pipeline's own training published ({folder}), which a new one replaces",
            do=f"copy that folder to another place, such as aligners/1, and name the copy: cp -r {folder} aligners/1",
        )
    return folder
