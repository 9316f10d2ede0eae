"""Requests end in time, whatever a server does with the connection."""

import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from rhoflow.errors import DataError
from rhoflow.structures import web
from rhoflow.structures.optimade import OptimadeSource, read_optimade


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(web, "_FIRST_PAUSE_S", 0.01)


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (HEAD + b"x-slow: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (CHUNKED, b"0"),
        (CHUNKED, b"1\r\n \r\n"),
    ],
)
def test_a_server_that_drips_for_ever_ends_in_time(start, again):
    with endless(start, again) as url:
        started = time.monotonic()
        with pytest.raises(DataError, match=r"after 2 attempts \(timed out"):
            list(read_optimade(OptimadeSource(base_url=url, retries=1, timeout_s=0.5)))
    assert time.monotonic() - started < 4


@contextmanager
def endless(start, again):
    """A server that answers with ``start`` and then the same bytes every 50 ms."""
    done = threading.Event()

    def answer(connection):
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(start)
            while not done.wait(0.05):
                connection.sendall(again)

    def listen():
        while not done.is_set():
            with suppress(OSError):
                connection, _ = listener.accept()
                connection.settimeout(5)
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            done.set()
            thread.join()
