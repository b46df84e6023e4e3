from pathlib import Path

from curate.config import annotating, calls, model, sources, table
from curate.config.reference import PAGE, TABLES, page
from curate.config.table import Table


def test_the_reference_page_equals_the_typed_configuration():
    root = Path(__file__).parents[3]
    assert (root / PAGE).read_text(encoding="utf-8") == page(), "run: python -m curate.config.reference"


def test_every_key_of_every_table_says_what_it_means():
    unsaid = [
        (title, name) for title, table in TABLES for name, key in table.model_fields.items() if not key.description
    ]
    assert unsaid == []


def test_the_page_holds_every_table_of_the_configuration():
    named = [one for module in (annotating, calls, model, sources, table) for one in vars(module).values()]
    tables = {one for one in named if isinstance(one, type) and issubclass(one, Table)}
    hidden = {Table, model.FileConfig, calls.CallConfig}
    assert tables - hidden == {table for _, table in TABLES}
