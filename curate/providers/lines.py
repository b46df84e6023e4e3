"""JSON lines out of a stream of bytes: split at line feeds alone, because JSON may hold other line ends."""

from collections.abc import AsyncIterator


async def json_lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines that are not empty."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
    if rest.strip():
        yield rest
