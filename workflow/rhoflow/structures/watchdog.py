"""A deadline for everything that happens on a network connection.

A time-out of a socket bounds the wait for its next byte. A server that sends one byte now and then,
be it of a header or of the length of a chunk, stays below it for ever; so does one that keeps
answering "100 Continue". Here a timer shuts the connection down, which ends any wait on it.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.poolmanager import ProxyManager

# The watch over the request that a thread makes; connections look here for it.
_HERE = threading.local()


class Watch:
    """The connections of one request, and whether its time is over."""

    def __init__(self) -> None:
        self.over = False
        self._lock = threading.Lock()
        self._held: list[socket.socket] = []

    def hold(self, connected: Any) -> None:
        """Keep a connection within reach, by a handle of its own that stays valid."""
        if connected is None or connected.fileno() < 0:
            return
        handle = socket.socket(fileno=os.dup(connected.fileno()))
        with self._lock:
            self._held.append(handle)
        if self.over:
            self.end()

    def end(self) -> None:
        """Shut all connections down."""
        with self._lock:
            self.over = True
            for handle in self._held:
                with suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Let go of the connections; they live on."""
        with self._lock:
            for handle in self._held:
                handle.close()
            self._held.clear()


@contextmanager
def deadline(seconds: float) -> Iterator[Watch]:
    """Shut down whatever connection this thread uses in the block, once the time is over."""
    watch = Watch()
    timer = threading.Timer(seconds, watch.end)
    timer.daemon = True
    _HERE.watch = watch
    timer.start()
    try:
        yield watch
    finally:
        timer.cancel()
        _HERE.watch = None
        watch.release()


def _watched(connected: Any) -> None:
    watch = getattr(_HERE, "watch", None)
    if watch is not None:
        watch.hold(connected)


class _Watched(HTTPConnection):
    """A connection that is under the thread's watch as soon as it stands, and when used again."""

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        _watched(connected)
        return connected

    def request(self, *args: Any, **kwargs: Any) -> None:
        _watched(self.sock)
        super().request(*args, **kwargs)


class _WatchedTLS(_Watched, HTTPSConnection):
    """The same over TLS; its handshake is under watch too."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched  # pyright: ignore[reportAssignmentType]


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLS  # pyright: ignore[reportAssignmentType]


_POOLS: Any = {"http": _Pool, "https": _TLSPool}


class WatchedAdapter(HTTPAdapter):
    """Makes connections that obey ``deadline``, through a proxy as well."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As the adapter's own."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> ProxyManager:
        """As the adapter's own."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager


def watch_over(session: requests.Session) -> None:
    """Let all connections of a session obey ``deadline``."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, WatchedAdapter())
