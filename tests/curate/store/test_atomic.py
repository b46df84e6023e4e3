import pytest

from curate.store.atomic import replacing


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "table"
    path.write_text("old")
    with replacing(path) as scratch:
        scratch.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [one.name for one in tmp_path.iterdir()] == ["table"]


def test_an_error_leaves_the_old_file_and_no_scratch(tmp_path):
    path = tmp_path / "table"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as scratch:
        scratch.write_text("half")
        _ = 1 / 0
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["table"]
