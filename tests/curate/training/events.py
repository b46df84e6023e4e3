"""Event files, read as TensorBoard reads them."""

import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c


def shown(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by tag, in the order of files and events; a start of a session hides what is not before it."""
    found: dict[str, list[tuple[int, float]]] = {}
    for event in (event for path in sorted(folder.iterdir()) for event in events(path)):
        if event.session_log.status == SessionLog.START:
            found = {tag: [one for one in points if one[0] < event.step] for tag, points in found.items()}
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def events(path: Path) -> list[Event]:
    """All events of a file whose sums are right; a record that a kill tore ends it."""
    data, place, found = path.read_bytes(), 0, []
    while place + 12 <= len(data):
        (length,), (of_length,) = struct.unpack_from("<Q", data, place), struct.unpack_from("<I", data, place + 8)
        assert of_length == masked_crc32c(data[place : place + 8])
        body = data[place + 12 : place + 12 + length]
        if len(data) < place + length + 16:
            break
        assert struct.unpack_from("<I", data, place + 12 + length) == (masked_crc32c(body),)
        found.append(Event.FromString(body))
        place += length + 16
    return found
