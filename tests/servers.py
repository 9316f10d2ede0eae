"""Web servers on this machine for the tests: what a database answers, byte by byte."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Reply:
    """An answer; ``drip_s`` is the pause before each of its bytes."""

    body: bytes | str = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    drip_s: float = 0.0


@dataclass
class Request:
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class Server:
    url: str
    requests: list[Request] = field(default_factory=list)


@contextmanager
def serve(answer: Callable[[Request], Reply]) -> Iterator[Server]:
    """Run a server that answers each GET as told; it remembers what was asked."""
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            query = {k: v[0] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
            request = Request(parts.path, query, {k.lower(): v for k, v in self.headers.items()})
            server.requests.append(request)
            reply = answer(request)
            body = reply.body.encode() if isinstance(reply.body, str) else reply.body
            stop.wait(reply.wait_s)
            try:
                self.send_response(reply.status)
                for name, value in {"content-length": str(len(body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if not reply.drip_s:
                    self.wfile.write(body)
                    return
                for i in range(len(body)):
                    if stop.is_set():
                        return
                    stop.wait(reply.drip_s)
                    self.wfile.write(body[i : i + 1])
            except OSError:
                pass  # the client went away, as some tests want

        def log_message(self, format, *args):  # noqa: A002
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        stop.set()
        http.shutdown()
        thread.join()
        http.server_close()
