"""Embedding: long texts in windows, batches by tokens, each text once, and the same vectors after a kill."""

import numpy as np
import polars as pl
import pytest

from curate.embed.embedder import Embedder, EmbedSettings
from curate.embed.vectors import TEXTS_AT_ONCE, Vectors
from schemas.errors import StoreError

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SKY = "Why is the sky blue in the daytime?"


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(EmbedSettings(MODEL), "cpu", 4096)


def opened(embedder: Embedder, asked: list[str]):
    """The real embedder; what it is asked for is noted."""

    class Noting:
        def tokens(self, texts):
            return embedder.tokens(texts)

        def encode(self, texts):
            asked.extend(texts)
            return embedder.encode(texts)

    return Noting


def test_a_short_text_has_the_vector_of_the_library(embedder):
    from sentence_transformers import SentenceTransformer

    from curate.embed.embedder import local_folder

    theirs = SentenceTransformer(str(local_folder(MODEL)), device="cpu").encode([SKY], normalize_embeddings=True)
    assert np.abs(embedder.encode([SKY]) - theirs).max() < 1e-6


def test_what_stands_after_the_models_longest_input_counts(embedder):
    start = "The committee met again on the matter of the harbour wall and its lamps. " * 30
    one, other, third = embedder.encode(
        [
            start + "Then they cooked rice with saffron and raisins. " * 12,
            start + "Then the engine of the tram failed. " * 12,
            start,
        ]
    )
    assert one @ other < 0.97
    assert np.linalg.norm(one) == pytest.approx(1.0, abs=1e-6)
    assert one @ third < 0.98


def test_an_empty_text_has_a_vector(embedder):
    assert np.linalg.norm(embedder.encode([""])[0]) == pytest.approx(1.0, abs=1e-6)


def test_vectors_do_not_depend_on_what_else_is_embedded(embedder):
    texts = [f"{SKY} {'And why? ' * count}" for count in range(40)]
    alone = np.concatenate([embedder.encode([text]) for text in texts])
    assert np.abs(alone - embedder.encode(texts)).max() < 2e-6


def test_half_precision_is_near_to_single(embedder):
    half = Embedder(EmbedSettings(MODEL, "bfloat16"), "cpu", 4096).encode([SKY, "How do I boil eggs?"])
    cosines = np.einsum("ij,ij->i", half, embedder.encode([SKY, "How do I boil eggs?"]))
    assert half.dtype == np.float32
    assert 0.98 < cosines.min() < 1.0


def test_each_text_is_embedded_once(tmp_path, embedder):
    asked: list[str] = []
    first = Vectors(tmp_path, EmbedSettings(MODEL), opened(embedder, asked)).of(["b", "a", "b"])
    again = Vectors(tmp_path, EmbedSettings(MODEL), opened(embedder, asked)).of(["a", "c", "b"])
    assert sorted(asked) == ["a", "b", "c"]
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(first[0], again[2])
    assert np.array_equal(first[1], again[0])


def test_another_precision_has_vectors_of_its_own(tmp_path, embedder):
    asked: list[str] = []
    Vectors(tmp_path, EmbedSettings(MODEL), opened(embedder, asked)).of(["a"])
    Vectors(tmp_path, EmbedSettings(MODEL, "bfloat16"), opened(embedder, asked)).of(["a"])
    assert asked == ["a", "a"]


def test_a_killed_run_embeds_the_same_batches_as_an_undisturbed_one(tmp_path, embedder):
    texts = [f"text number {number}" for number in range(TEXTS_AT_ONCE + 50)]
    whole = Vectors(tmp_path / "whole", EmbedSettings(MODEL), lambda: embedder).of(texts)
    killed = Vectors(tmp_path / "killed", EmbedSettings(MODEL), lambda: embedder)

    class KilledError(Exception):
        pass

    def kill(done: int, _missing: int) -> None:
        if done:
            raise KilledError

    with pytest.raises(KilledError):
        killed.of(texts, kill)
    asked: list[str] = []
    after = Vectors(tmp_path / "killed", EmbedSettings(MODEL), opened(embedder, asked)).of(texts[::-1])[::-1]
    assert len(asked) == 50
    assert np.array_equal(whole, after)


def test_of_a_directory_the_content_counts_and_not_the_name(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    one, other = (EmbedSettings(str(tmp_path / name)) for name in ("one", "other"))
    assert one.describe() == other.describe()
    (tmp_path / "other" / "config.json").write_text('{"hidden_size": 8}')
    assert one.describe() != other.describe()


def stored(folder, embedder):
    """Two texts in two files."""
    for text in ("a", "b"):
        Vectors(folder, EmbedSettings(MODEL), lambda: embedder).of([text])
    return sorted(folder.glob("*/vectors-*.parquet"))


def test_a_file_that_was_deleted_is_made_anew_and_no_other_is_written_over(tmp_path, embedder):
    first, second = stored(tmp_path, embedder)
    before = Vectors(tmp_path, EmbedSettings(MODEL), lambda: embedder).of(["a", "b"])
    kept = second.read_bytes()
    first.unlink()
    assert np.abs(Vectors(tmp_path, EmbedSettings(MODEL), lambda: embedder).of(["a", "b"]) - before).max() < 1e-6
    assert second.read_bytes() == kept


def test_a_file_that_was_cut_is_named(tmp_path, embedder):
    first, _ = stored(tmp_path, embedder)
    first.write_bytes(first.read_bytes()[:100])
    with pytest.raises(StoreError, match=f"{first.name} cannot be read") as told:
        Vectors(tmp_path, EmbedSettings(MODEL), lambda: embedder).of(["a", "b"])
    assert "remove this file" in told.value.do


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_damaged_vectors_are_refused(tmp_path, embedder, value):
    first, _ = stored(tmp_path, embedder)
    frame = pl.read_parquet(first)
    damaged = np.full((1, embedder.dimensions), value, dtype=np.float32)
    frame.with_columns(vector=pl.Series(damaged, dtype=frame["vector"].dtype)).write_parquet(first)
    with pytest.raises(StoreError, match="vectors are missing or damaged"):
        Vectors(tmp_path, EmbedSettings(MODEL), lambda: embedder).of(["a", "b"])
