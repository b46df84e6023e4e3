"""What a server's refusals become: one sentence on what happened, one on what to do. Servers that we cannot start."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from annotators.label_studio.client import LabelStudio, LabelStudioBusyError, LabelStudioGoneError
from schemas.errors import LabelStudioError

TOKEN = "0" * 40


@contextmanager
def server(answers: dict[str, tuple[int, object]]) -> Iterator[str]:
    """A server that answers paths as it is told, and everything else with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = answers.get(self.path.partition("?")[0], (404, {"detail": "Not found."}))
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}"
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


@pytest.mark.parametrize(
    ("release", "message"),
    [
        ({"release": "1.13.1"}, r"is Label Studio 1\.13\.1; push and pull rely on calls of 1\.23 or newer"),
        ({"release": "nightly"}, "tells no version"),
        ([], "tells no version"),
        ("<html>Welcome</html>", "answers api/version with something else than JSON"),
    ],
)
def test_an_old_server_and_one_that_is_no_label_studio_are_refused(release, message):
    with (
        server({"/api/version": (200, release), "/api/current-user/whoami": (200, {"id": 1})}) as url,
        LabelStudio(url, TOKEN) as one,
        pytest.raises(LabelStudioError, match=message),
    ):
        one.check()


def test_a_newer_server_is_taken():
    answers = {"/api/version": (200, {"release": "2.0.0"}), "/api/current-user/whoami": (200, {"email": "a@b.c"})}
    with server(answers) as url, LabelStudio(url, TOKEN) as one:
        assert one.check() == {"email": "a@b.c"}


@pytest.mark.parametrize(
    ("status", "kind", "do"),
    [
        (401, LabelStudioError, "set the variable of token_env"),
        (403, LabelStudioError, "use the token of an administrator"),
        (404, LabelStudioGoneError, "was it deleted there"),
        (429, LabelStudioBusyError, "run the same command again"),
        (502, LabelStudioBusyError, "look at the server's log"),
        (400, LabelStudioError, "which versions work"),
    ],
)
def test_a_refusal_says_what_the_server_said_and_what_to_do(status, kind, do):
    with (
        server({"/api/projects/7": (status, {"detail": "The words of the server."})}) as url,
        LabelStudio(url, TOKEN) as one,
        pytest.raises(kind, match=rf"answers api/projects/7 with {status}: The words of the server") as raised,
    ):
        one.project(7)
    assert do in raised.value.do
    assert TOKEN not in str(raised.value)
