"""HTTP for sources that ask a database: bounded in time and size, patient, and never misled.

A database may be slow, down, or somebody else's. Every request ends after a set time, every answer
is refused beyond a set size, failures that may pass are tried again a few times, and a redirection
is followed only on the same host and never from https to http, so that a key stays where it
belongs.
"""

import json
import logging
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from rhoflow.errors import DataError
from rhoflow.structures.reading import one_line
from rhoflow.structures.watchdog import Watch, deadline, watch_over

log = logging.getLogger(__name__)

_PASSING = (429, 500, 502, 503, 504)
"""Statuses of a server that may answer better a moment later."""

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 3
_FIRST_PAUSE_S = 0.5
_MAX_PAUSE_S = 30.0
_CHUNK = 65536
_SHOWN = 200


class RefusedError(DataError):
    """The server understood and refused (a status from 400 to 499)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _BrokenError(Exception):
    """An attempt failed in a way that may pass."""


class Web(requests.Session):
    """HTTP client whose every request is bounded and, where that may help, repeated.

    Args:
        timeout_s: longest time for one attempt, its body included, in s.
        retries: attempts after the first.
        max_mb: largest answer in MB (10^6 bytes), unpacked.
        what: the database's name, for messages.
        secret: a key that goes along with each request; wherever a server repeats it in an
            answer, it is blotted out before anyone reads it.
    """

    def __init__(
        self, *, timeout_s: float, retries: int, max_mb: float, what: str, secret: str = ""
    ) -> None:
        super().__init__()
        watch_over(self)
        self.timeout_s = timeout_s
        self.retries = retries
        self.max_bytes = int(max_mb * 1e6)
        self.what = what
        self.secret = secret.encode()
        self.listeners: list[Callable[[bytes], object]] = []

    def request(self, method: str, url: str, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """As ``requests.Session.request``; the answer is read to its end.

        Raises:
            DataError: no answer within time and size after all attempts, or it points elsewhere.
        """
        for attempt in range(self.retries + 1):
            pause = min(_FIRST_PAUSE_S * 2**attempt, _MAX_PAUSE_S)
            try:
                response = self._timed(method, url, kwargs)
                if response.status_code not in _PASSING or attempt == self.retries:
                    return response
                problem = f"status {response.status_code}"
                pause = _asked_to_wait(response) or pause
            except (OSError, HTTPError, _BrokenError) as error:
                problem = _cause(error)
                if attempt == self.retries:
                    raise DataError(
                        f"{self.what}: no answer from {_plain(url)} after {attempt + 1} attempts "
                        f"({problem}). Check the address and the network, or try again later"
                    ) from None
            log.info("%s: %s; attempt %d of %d", self.what, problem, attempt + 2, self.retries + 1)
            time.sleep(pause)
        raise AssertionError("unreachable")

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: ``requests`` looks at no redirection, as ``_follow`` does."""

    def _timed(self, method: str, url: str, kwargs: dict[str, Any]) -> requests.Response:
        """One attempt, over when its time is."""
        with deadline(self.timeout_s) as watch:
            try:
                response = self._follow(method, url, kwargs, watch)
            except (OSError, HTTPError, ValueError) as error:
                if watch.over:
                    raise self._late() from error
                raise
            # A connection that is shut down can look like the end of an answer.
            if watch.over:
                raise self._late()
        return response

    def _late(self) -> _BrokenError:
        return _BrokenError(f"timed out: answer not complete after {self.timeout_s:g} s")

    def _follow(
        self, method: str, url: str, kwargs: dict[str, Any], watch: Watch
    ) -> requests.Response:
        """One attempt, redirections included."""
        options = {**kwargs, "timeout": self.timeout_s, "stream": True, "allow_redirects": False}
        for _ in range(_MAX_REDIRECTS + 1):
            with super().request(method, url, **options) as response:
                if response.status_code not in _REDIRECTS:
                    # What `requests` keeps of a body that it has read itself.
                    response._content = self._body(response, watch)
                    return response
                target = joined(response.url, response.headers.get("location", ""))
            if not target:
                raise DataError(
                    f"{self.what}: {_plain(url)} redirects to something that is no web address"
                )
            if not same_host(response.url, target):
                raise DataError(
                    f"{self.what}: {_plain(url)} redirects to another host or to plain http, "
                    f"{_plain(target)}. If that is right, give its address in the config"
                )
            # The target holds the query already.
            url, options = target, {**options, "params": None}
        raise DataError(f"{self.what}: {_plain(url)} redirects more than {_MAX_REDIRECTS} times")

    def _body(self, response: requests.Response, watch: Watch) -> bytes:
        """The whole body, unless it is too large or comes too slowly."""
        body = bytearray()
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > self.max_bytes:
                raise DataError(
                    f"{self.what}: an answer of more than {self.max_bytes / 1e6:g} MB from "
                    f"{_plain(response.url)}. Ask for fewer entries a page"
                )
            if watch.over:
                raise self._late()
        whole = bytes(body.replace(self.secret, b"***") if self.secret else body)
        for listen in self.listeners:
            listen(whole)
        return whole


def read_json(response: requests.Response, what: str) -> dict[str, Any]:
    """The JSON object of an answer.

    Raises:
        RefusedError: a status from 400 to 499; the server's own words are in the message.
        DataError: another status than 200, or something else than a JSON object.
    """
    status, where = response.status_code, _plain(response.url)
    try:
        content = json.loads(response.content)
    except (ValueError, RecursionError):
        content = None
    if status != 200:
        message = f"{what}: {where} answers with status {status}{_explanation(content)}"
        if 400 <= status < 500:
            raise RefusedError(message, status)
        raise DataError(f"{message}. Try again later")
    if not isinstance(content, dict):
        kind = one_line(response.headers.get("content-type", "no content type"), 60)
        start = one_line(response.content[:300].decode("utf-8", errors="replace"), 60)
        raise DataError(
            f"{what}: {where} answers with {kind} that is no JSON object ('{start}'). Is this the "
            "address of the database's interface, and not of its web page?"
        )
    return content


def same_host(known: str, target: str) -> bool:
    """Whether a URL stays on the host of another, by https if that did."""
    try:
        a, b = urlsplit(known), urlsplit(target)
        ports = {a.port, b.port}
    except ValueError:
        return False
    if b.scheme not in ("http", "https") or (a.scheme == "https" and b.scheme != "https"):
        return False
    return a.hostname == b.hostname and (len(ports) == 1 or ports <= {None, 80, 443})


def joined(base: str, reference: str) -> str:
    """A reference as a full URL; empty where it is none."""
    try:
        return urljoin(base, reference)
    except ValueError:
        return ""


def _explanation(content: object) -> str:
    """What a JSON answer says about its failure: OPTIMADE's ``errors``, FastAPI's ``detail``."""
    if not isinstance(content, dict):
        return ""
    errors = content.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else content
    detail = first.get("detail") or first.get("title") if isinstance(first, dict) else None
    detail = detail or content.get("message")
    return f": {one_line(detail, _SHOWN)}" if detail else ""


def _asked_to_wait(response: requests.Response) -> float | None:
    """The pause that a busy server asks for, in s, within reason."""
    value = response.headers.get("retry-after", "")
    return min(float(value), _MAX_PAUSE_S) if value.isdecimal() and len(value) < 9 else None


def _plain(url: str) -> str:
    """A URL without query, user and password."""
    return one_line(re.sub(r"//[^/@]*@", "//", url.partition("?")[0]), _SHOWN)


def _cause(error: Exception) -> str:
    if isinstance(error, (requests.Timeout, ReadTimeoutError)):
        return "timed out"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return one_line(error, 80) or type(error).__name__
