"""Guard before the routes: who may ask, how much may be sent, and a line for the log.

A page in the user's browser can reach a server on loopback. It is refused by its
`Origin`, and, where it has a name resolve to this machine (DNS rebinding), by `Host`.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmtui.models.remote.address import is_loopback
from lmtui.serve.limits import Limits
from lmtui.serve.shapes import Counts, failure, shortened
from lmtui.text import visible

_OPEN = ("/health",)
"""Paths that need no key, and no name of the server."""
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+))(?::[0-9]*)?", re.ASCII)
"""A `Host` header: an address in brackets or a name, perhaps with a port."""
_ABSOLUTE = re.compile(rb"https?://([^/]*)(/.*)?", re.IGNORECASE | re.DOTALL)
"""A request target with the server's name in it, as proxies are sent it."""
_CLOSE = {"Connection": "close"}


@dataclass(frozen=True, slots=True)
class Access:
    key: str | None = None
    """What clients have to send as `Authorization: Bearer KEY`."""
    hosts: Collection[str] = ()
    """Host names besides those of loopback by which the server may be called."""
    origins: Collection[str] = ()
    """Web pages that may send requests, as scheme and host."""

    def refusal(
        self, method: str, path: str, headers: Headers
    ) -> tuple[int, str] | None:
        """Return the status and the reason why a request is refused; None if it is
        not."""
        host, origin = headers.get("host"), headers.get("origin")
        # Probes of HTTP/1.0 send none; a browser always does.
        if not self._is_called(host) and (host is not None or path not in _OPEN):
            return 421, "This server is not called so; allow it with --allow-host."
        if origin is not None and origin not in self.origins:
            return 403, "Pages of this origin may not ask; see --allow-origin."
        # A browser asks whether it may send a key before it does.
        is_open = path in _OPEN or is_preflight(method, headers)
        if self.key is not None and not is_open and not self._knows_key(headers):
            return 401, "The API key is missing or wrong."
        return None

    def _is_called(self, header: str | None) -> bool:
        """Return whether the server may be called by this `Host`."""
        match = _HOST.fullmatch(header or "")
        if match is None:
            return False
        host = (match[1] or match[2]).lower()
        return is_loopback(host) or host in self.hosts

    def _knows_key(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        expected = (self.key or "").encode()
        same = hmac.compare_digest(given.strip().encode(), expected)
        return same and scheme.lower() == "bearer"


def is_preflight(method: str, headers: Headers) -> bool:
    """Return whether a browser asks what a page may send."""
    return method == "OPTIONS" and "origin" in headers


@dataclass(slots=True)
class _Exchange:
    status: int = 0
    is_complete: bool = False
    """Whether the whole response was sent."""
    left: bool = False
    """Whether the client went before that."""


class Guard:
    """ASGI middleware around all routes."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        limits: Limits,
        report: Callable[[str], object],
    ) -> None:
        """`report` takes a line for each request."""
        self._app, self._access, self._limits = app, access, limits
        self._report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = _in_origin_form(scope)
        started, exchange = time.perf_counter(), _Exchange()
        origin = Headers(scope=scope).get("origin")

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                if origin in self._access.origins and origin:
                    message["headers"] = [
                        *message.get("headers", ()),
                        (b"access-control-allow-origin", origin.encode()),
                        (b"vary", b"Origin"),
                    ]
            elif not message.get("more_body", False):
                exchange.is_complete = True
            await send(message)

        async def watching() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and not exchange.is_complete:
                exchange.left = True
            return message

        scope.setdefault("state", {})
        try:
            refused = self._refused(scope) or await self._read(watching)
            if isinstance(refused, Response):
                await refused(scope, receive, noting)
            else:
                await self._app(scope, refused, noting)
        finally:
            counts = scope["state"].get("counts")
            seconds = time.perf_counter() - started
            status = "client left" if exchange.left else str(exchange.status)
            self._report(log_line(scope, status, counts, seconds))

    def _refused(self, scope: Scope) -> Response | None:
        headers, method = Headers(scope=scope), scope["method"]
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy before this server may see another request's end (RFC 9112, 6.1).
            words = "A request has a Content-Length or a Transfer-Encoding, not both."
            return JSONResponse(failure(400, words), 400, headers=_CLOSE)
        if refusal := self._access.refusal(method, scope["path"], headers):
            status, reason = refusal
            return JSONResponse(failure(status, reason), status)
        if is_preflight(method, headers):
            # Libraries send headers of their own, which are passed over.
            asked = headers.get("access-control-request-headers", "")
            return Response(
                status_code=204,
                headers={
                    "access-control-allow-methods": "GET, POST",
                    "access-control-allow-headers": asked,
                },
            )
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._limits.body:
            return self._too_large()
        return None

    def _too_large(self) -> Response:
        words = f"The body is larger than {self._limits.body:,} bytes."
        return JSONResponse(failure(413, words), 413, headers=_CLOSE)

    async def _read(self, receive: Receive) -> Receive | Response:
        """Read the whole body; return a `receive` that gives it at once."""
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        break
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    more = message.get("more_body", False)
                    if size > self._limits.body:
                        return self._too_large()
        except TimeoutError:
            words = "The body did not come in time."
            return JSONResponse(failure(408, words), 408, headers=_CLOSE)
        body = b"".join(parts)
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return replay


def _in_origin_form(scope: Scope) -> Scope:
    """Return a request whose target is a path. The name in an absolute target takes the
    place of `Host` (RFC 9112, 3.2.2)."""
    match = _ABSOLUTE.fullmatch(scope["raw_path"])
    if match is None:
        return scope
    path = match[2] or b"/"
    others = [header for header in scope["headers"] if header[0] != b"host"]
    return {
        **scope,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "headers": [(b"host", match[1]), *others],
    }


def log_line(scope: Scope, status: str, counts: Counts | None, seconds: float) -> str:
    """Return the line of a request: method, path, status, tokens, speed, time."""
    path = visible(shortened(scope["path"]))
    parts = [f"{scope['method']} {path} {status}"]
    if counts is not None:
        cached = f" ({counts.cached:,} cached)" if counts.cached else ""
        parts.append(f"{counts.prompt:,}{cached} in, {counts.generated:,} out")
        if counts.speed is not None:
            parts.append(f"{counts.speed:,.1f} tokens/s")
    return " · ".join([*parts, f"{seconds:.2f} s"])
