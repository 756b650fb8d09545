"""A web server for tests that nobody should ever ask for anything."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Trap:
    """A web server on loopback that nobody should ever ask for anything; a context manager.

    Attributes:
        hits: What was asked for.
    """

    def __init__(self):
        self.hits = hits = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                hits.append(self.path)
                self.send_response(204)
                self.end_headers()

            do_POST = do_HEAD = do_GET  # noqa: N815  # as the base class calls them

            def log_message(self, *_arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
