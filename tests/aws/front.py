"""Stands before ministack and mends its answers where a policy refuses: AWS names every request, ministack not these.

Our provider takes an answer without a request id for somebody else's, so it would hear silence instead of a denial.
The Host header is passed on as it came: it is signed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit
from uuid import uuid4

_REQUEST_ID = "x-amzn-requestid"
_ERROR_TYPE = "x-amzn-errortype"
_HOP_BY_HOP = frozenset({"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"})


@contextmanager
def front_of(url: str, *, mend: bool = True) -> Iterator[str]:
    """Serve as long as the block lasts; gives the URL to use instead.

    Args:
        url: The emulator's.
        mend: Whether to give errors the request id that they lack.
    """
    upstream = urlsplit(url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = HTTPConnection(upstream, timeout=30)
            try:
                connection.request("POST", self.path, body, dict(self.headers))
                answer = connection.getresponse()
                content, headers = answer.read(), dict(answer.getheaders())
            finally:
                connection.close()
            names = {name.lower() for name in headers}
            if mend and _ERROR_TYPE in names and _REQUEST_ID not in names:
                headers[_REQUEST_ID] = str(uuid4())
            self.send_response(answer.status)
            for name, value in headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
