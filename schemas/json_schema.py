"""JSON Schema of each table, for readers in other languages: `python -m schemas.json_schema` writes `schemas/json/`."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "json"


def table_json_schema(name: str) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one row of the table `name`; nullable columns allow null."""
    from schemas.tables import TABLES

    schema = TABLES[name]
    columns = schema.columns()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        "description": (schema.__doc__ or "").strip(),
        "type": "object",
        "properties": {column: _property(definition) for column, definition in columns.items()},
        "required": list(columns),
        "additionalProperties": False,
        "x-primary-key": schema.primary_key(),
    }


def _property(column: Any) -> dict[str, Any]:
    kind = type(column).__name__
    if kind == "List":
        described: dict[str, Any] = {"type": "array", "items": _property(column.inner)}
    elif kind == "Struct":
        fields = {name: _property(inner) for name, inner in column.inner.items()}
        described = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    else:
        described = {"type": {"String": "string", "Int64": "integer", "Float64": "number", "Bool": "boolean"}[kind]}
        for ours, theirs in (("regex", "pattern"), ("min_length", "minLength"), ("min", "minimum")):
            if (bound := getattr(column, ours, None)) is not None:
                described[theirs] = bound
    if column.nullable:
        described["type"] = [described["type"], "null"]
    return described


def rendered(name: str) -> str:
    """The text of `schemas/json/<name>.schema.json`."""
    return json.dumps(table_json_schema(name), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write one file for each table."""
    from schemas.tables import TABLES

    FOLDER.mkdir(exist_ok=True)
    for name in TABLES:
        (FOLDER / f"{name}.schema.json").write_text(rendered(name), encoding="utf-8")


if __name__ == "__main__":
    main()
