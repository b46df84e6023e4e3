import json

import pytest

from schemas.json_schema import FOLDER, rendered, table_json_schema
from schemas.tables import TABLES


@pytest.mark.parametrize("name", TABLES)
def test_the_json_schema_file_equals_the_table(name):
    written = (FOLDER / f"{name}.schema.json").read_text(encoding="utf-8")
    assert written == rendered(name), "run: python -m schemas.json_schema"


def test_no_json_schema_is_left_of_a_removed_table():
    assert {path.name.removesuffix(".schema.json") for path in FOLDER.iterdir()} == set(TABLES)


def test_a_nullable_column_allows_null_and_a_needed_one_does_not():
    properties = table_json_schema("prompts")["properties"]
    assert properties["license"]["type"] == ["string", "null"]
    assert properties["text"] == {"type": "string", "minLength": 1}


def test_the_files_are_json():
    assert json.loads((FOLDER / "triples.schema.json").read_text(encoding="utf-8"))["x-primary-key"] == ["triple_id"]
