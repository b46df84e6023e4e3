"""The input file of an OpenAI batch, and what is wrong with it."""

import json
from collections import Counter
from typing import Any

from tests.llm_server.asked import Kind, read_asked
from tests.llm_server.batches import BatchRequest

KINDS = {"/v1" + kind: kind for kind in (Kind.CHAT, Kind.TEXT)}
"""By endpoint."""


def read_input(content: bytes, endpoint: str, at_most: int) -> tuple[list[BatchRequest], list[dict[str, Any]]]:
    """The requests of an input file, and what OpenAI's validation says against it."""
    requests, complaints, seen, models = [], [], Counter[str](), set()
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            row = json.loads(line)
            asked = read_asked(KINDS[endpoint], row["body"])
            custom_id, url, method = row["custom_id"], row["url"], row["method"]
        except (ValueError, KeyError, TypeError) as error:
            complaints.append(complaint("invalid_json_line", f"This line is no request: {error}", number))
            continue
        seen[custom_id] += 1
        models.add(asked.model)
        if seen[custom_id] > 1:
            complaints.append(complaint("duplicate_custom_id", f"The custom_id '{custom_id}' is not unique.", number))
        if url != endpoint or method != "POST":
            complaints.append(complaint("mismatched_endpoint", f"{method} {url} is not POST {endpoint}.", number))
        if len(models) > 1:
            complaints.append(complaint("mismatched_model", "All requests of a batch name the same model.", number))
        requests.append(BatchRequest(custom_id, asked))
    if not requests:
        complaints.append(complaint("empty_file", "The input file is empty.", None))
    if len(requests) > at_most:
        complaints.append(complaint("too_many_tasks", f"A batch holds at most {at_most} requests.", None))
    return requests, complaints


def complaint(code: str, message: str, line: int | None) -> dict[str, Any]:
    """One error of a failed batch."""
    return {"code": code, "message": message, "param": None, "line": line}
