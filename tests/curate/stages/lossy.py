"""A proxy that drops answers after the server acted: what a time-out or a broken connection looks like to a caller."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import Request, urlopen


class Proxy:
    """Where it listens, what it drops, and how often it did."""

    def __init__(self, target: str) -> None:
        self.target, self.url = target, ""
        self.drops: Callable[[str, str], bool] = lambda _method, _path: False
        self.holds: Callable[[str, str], bool] = lambda _method, _path: False
        self.dropped = 0


@contextmanager
def lossy_proxy(target: str) -> Iterator[Proxy]:
    """A proxy before a server; `drops` says of a call whether its answer is lost, `holds` whether it never gets there."""
    proxy = Proxy(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if proxy.holds(self.command, self.path):
                self._drop()
                return
            kept = {
                name: value for name, value in self.headers.items() if name.lower() in {"authorization", "content-type"}
            }
            request = Request(proxy.target + self.path, data=body or None, headers=kept, method=self.command)
            try:
                with urlopen(request, timeout=60) as response:
                    status, content, kind = response.status, response.read(), response.headers.get("Content-Type", "")
            except HTTPError as error:
                status, content, kind = error.code, error.read(), error.headers.get("Content-Type", "")
            if proxy.drops(self.command, self.path):
                self._drop()
                return
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _drop(self) -> None:
            proxy.dropped += 1
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.close()

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815  names that the library calls

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
