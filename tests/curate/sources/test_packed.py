"""Packed and oddly written files are read to their last row, or refused: none is taken for whole that is not."""

import gzip
import json

import pytest
import zstandard

from curate.sources.readers import Broken, rows
from schemas.errors import SourceError

MANY = [{"text": f"prompt {number} " + "x" * 50} for number in range(5000)]


def read(path):
    return [value for _, value in rows(path, path.name)]


def packed(path, content: bytes):
    pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}[path.suffix]
    path.write_bytes(pack(content))
    return path


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_a_packed_file_is_read_whole(tmp_path, kind, suffix):
    text = json.dumps(MANY) if kind == "json" else "".join(json.dumps(row) + "\n" for row in MANY)
    assert read(packed(tmp_path / f"p.{kind}.{suffix}", text.encode())) == MANY


def test_all_frames_of_a_packed_file_are_read(tmp_path):
    frames = [zstandard.ZstdCompressor().compress(json.dumps(row).encode() + b"\n") for row in MANY[:50]]
    (tmp_path / "p.jsonl.zst").write_bytes(b"".join(frames))
    assert read(tmp_path / "p.jsonl.zst") == MANY[:50]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_packed_file_that_was_cut_is_refused(tmp_path, suffix):
    path = packed(tmp_path / f"p.jsonl.{suffix}", "".join(json.dumps(row) + "\n" for row in MANY).encode())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match="broken after row"):
        read(path)


@pytest.mark.parametrize("text", ['[{"a": "b"}]', '{"a": "b"}'])
def test_a_byte_order_mark_before_json_is_no_fault(tmp_path, text):
    (tmp_path / "p.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read(tmp_path / "p.json") == [{"a": "b"}]


def test_an_open_quote_in_a_csv_is_told_and_swallows_nothing_silently(tmp_path):
    (tmp_path / "p.csv").write_text('text\nfirst\n"second\n' + "".join(f"row {n}\n" for n in range(40)))
    found = read(tmp_path / "p.csv")
    assert found[0] == {"text": "first"}
    assert isinstance(found[1], Broken)
    assert found[1].kind == "invalid_csv"


def test_a_line_nested_too_deep_is_a_row_that_failed(tmp_path):
    (tmp_path / "p.jsonl").write_text("[" * 5000 + "]" * 5000 + '\n{"a": 1}\n')
    first, second = read(tmp_path / "p.jsonl")
    assert isinstance(first, Broken)
    assert second == {"a": 1}
