"""Embedding of the texts of one file: by our embedder, or by a bare `encode` of sentence-transformers as it comes.

Prints {"cpu_s", "wall_s", "texts", "tokens"}; loading is not counted.
Usage: python dedup_encode.py ours|bare TEXTS.json
"""

import json
import sys
import time
from pathlib import Path

from curate.embed.embedder import Embedder, EmbedSettings, local_folder

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def main(method: str, path: str) -> None:
    texts = json.loads(Path(path).read_text(encoding="utf-8"))
    embedder = Embedder(EmbedSettings(MODEL), "cpu")
    tokens = int(embedder.tokens(texts).sum())
    if method == "ours":
        encode = embedder.encode
    else:
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(local_folder(MODEL)), device="cpu")

        def encode(some: list[str]) -> object:
            return model.encode(some, normalize_embeddings=True, show_progress_bar=False)

    encode(texts[:8])
    cpu, wall = time.process_time(), time.perf_counter()
    encode(texts)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "texts": len(texts), "tokens": tokens}))


if __name__ == "__main__":
    main(*sys.argv[1:])
