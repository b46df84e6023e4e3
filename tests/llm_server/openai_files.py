"""OpenAI's files, in memory."""

import time
from typing import TYPE_CHECKING, Any

from aiohttp import BodyPartReader, web

from tests.llm_server.batches import StoredFile, page
from tests.llm_server.errors import RefusedError

if TYPE_CHECKING:
    from tests.llm_server.server import LLMServer


async def upload(server: "LLMServer", request: web.Request) -> dict[str, Any]:
    """POST /v1/files, as a multipart form."""
    fields: dict[str, tuple[str, bytes]] = {}
    async for part in await request.multipart():
        if isinstance(part, BodyPartReader):
            fields[part.name or ""] = (part.filename or "", bytes(await part.read()))
    if "file" not in fields or "purpose" not in fields:
        raise RefusedError(400, "A file and its purpose are required.")
    name, content = fields["file"]
    return _file_object(store(server, name, fields["purpose"][1].decode(), content))


async def list_files(server: "LLMServer", request: web.Request) -> dict[str, Any]:
    """GET /v1/files, newest first."""
    purpose = request.query.get("purpose")
    ids = [one.file_id for one in reversed(server.files.values()) if purpose in (None, one.purpose)]
    found, has_more = page(ids, request.query.get("after"), None, int(request.query.get("limit", "10000")))
    return listed([_file_object(server.files[one]) for one in found], has_more)


async def show_file(server: "LLMServer", request: web.Request) -> dict[str, Any]:
    """GET /v1/files/{id}."""
    return _file_object(stored_file(server, request.match_info["id"]))


async def delete_file(server: "LLMServer", request: web.Request) -> dict[str, Any]:
    """DELETE /v1/files/{id}."""
    stored = stored_file(server, request.match_info["id"])
    del server.files[stored.file_id]
    return {"id": stored.file_id, "object": "file", "deleted": True}


async def content(server: "LLMServer", request: web.Request) -> web.StreamResponse:
    """GET /v1/files/{id}/content."""
    body = stored_file(server, request.match_info["id"]).content
    return web.Response(body=body, headers={"Content-Type": "application/octet-stream"})


def store(server: "LLMServer", name: str, purpose: str, content: bytes) -> StoredFile:
    """A new file."""
    stored = StoredFile(f"file-{server.next_number()}", name, purpose, content, time.time())
    server.files[stored.file_id] = stored
    return stored


def stored_file(server: "LLMServer", file_id: str) -> StoredFile:
    """The file of this id. Raises RefusedError."""
    if file_id not in server.files:
        raise RefusedError(404, f"No such File object: {file_id}")
    return server.files[file_id]


def _file_object(stored: StoredFile) -> dict[str, Any]:
    return {
        "id": stored.file_id,
        "object": "file",
        "bytes": len(stored.content),
        "created_at": int(stored.created_s),
        "expires_at": None,
        "filename": stored.filename,
        "purpose": stored.purpose,
        "status": "processed",
        "status_details": None,
    }


def listed(data: list[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    """A page as OpenAI shows it."""
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more}
