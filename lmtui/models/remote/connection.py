"""Connection to a server: requests that can be stopped, and answers of bounded size.

A request runs on an event loop of its own, in the thread that waits for it, so that a
stop closes the connection and the server ends its work. Knows no model.
"""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import httpx2

from lmtui.errors import Cancelled, LmtuiError
from lmtui.models.remote.address import KEY_VARIABLE, Address

T = TypeVar("T")

_POLL = 0.02  # seconds between two looks at whether the answer is still wanted
_TIMEOUT = httpx2.Timeout(60, connect=10, read=600)  # a long prompt takes minutes
_SHORT = 1 << 20  # bytes of an answer that is no data, about
_SHOWN = 300  # characters that are shown of a server's own words


class Connection:
    """Connection to one server. One thread at a time uses it."""

    def __init__(self, address: Address, key: str | None = None) -> None:
        """`key` is sent to this server and nowhere else."""
        self.address = address
        headers = {"Accept-Encoding": "identity"}  # a small answer never grows
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx2.AsyncClient(
            headers=headers,
            timeout=_TIMEOUT,
            follow_redirects=False,
            trust_env=not address.is_loopback,  # proxies
        )
        self._loop = asyncio.new_event_loop()
        self._end = weakref.finalize(self, self._loop.close)

    def json(
        self,
        path: str,
        body: Any = None,
        *,
        most: int = _SHORT,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Any:
        """Return the JSON of an answer of up to `most` bytes: to a POST of `body`, or
        to a GET.

        Raises:
            LmtuiError: the server can't be reached or refuses, or answers nonsense.
            Cancelled: `should_stop` answered True.
        """
        data = self.data(path, body, most=most, should_stop=should_stop)
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise self.nonsense("it is not JSON") from None

    def data(
        self,
        path: str,
        body: Any = None,
        *,
        most: int = _SHORT,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> bytes:
        """Return an answer as it is; see `json`."""
        method = "GET" if body is None else "POST"
        return self._wait(self._ask(method, path, body, most), should_stop)

    def close(self) -> None:
        """Close the connection."""
        if self._end.alive:
            self._loop.run_until_complete(self._client.aclose())
            self._end()

    def nonsense(self, detail: str) -> LmtuiError:
        """Return the error for an answer that makes no sense."""
        return LmtuiError(
            "the server's answer can't be used",
            f"{self.address.host}: {detail}",
            "Check that the address is that of an lmtui server.",
        )

    def _wait(
        self, request: Coroutine[Any, Any, T], should_stop: Callable[[], bool]
    ) -> T:
        async def watched() -> T:
            task = asyncio.ensure_future(request)
            try:
                while not (await asyncio.wait([task], timeout=_POLL))[0]:
                    if should_stop():
                        raise Cancelled
                return task.result()
            finally:
                if not task.done():
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task

        return self._loop.run_until_complete(watched())

    async def _ask(self, method: str, path: str, body: Any, most: int) -> bytes:
        try:
            try:
                return await self._once(method, path, body, most)
            except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
                # A connection that was kept open is closed when a server starts anew.
                # Every request can be made twice: none changes anything there.
                return await self._once(method, path, body, most)
        except httpx2.ConnectError as error:
            raise LmtuiError(
                "the server can't be reached",
                f"{self.address.host}: {error}".rstrip(": "),
                "Start it, or check the address.",
            ) from error
        except httpx2.TimeoutException as error:
            raise LmtuiError(
                "the server does not answer",
                self.address.host,
                "Try again, or ask for less at once.",
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise LmtuiError(
                "the connection to the server broke off",
                f"{self.address.host}: {error}".rstrip(": "),
                "Try again.",
            ) from error

    async def _once(self, method: str, path: str, body: Any, most: int) -> bytes:
        url = f"{self.address.url}{path}"
        data = bytearray()
        async with self._client.stream(method, url, json=body) as response:
            good = response.status_code == 200
            async for part in response.aiter_raw():
                data += part
                if len(data) > (most if good else _SHORT):
                    raise self.nonsense("it is too long")
            if good:
                return bytes(data)
            raise self._refused(response, bytes(data))

    def _refused(self, response: httpx2.Response, data: bytes) -> LmtuiError:
        status = response.status_code
        if 300 <= status < 400:
            where = response.headers.get("location", "")[:_SHOWN]
            return LmtuiError(
                "the server sends requests on to another address",
                f"{self.address.host} to {where}",
                "Give that address, if you trust it.",
            )
        if status in (401, 403):
            hint = f"Put its key into the variable {KEY_VARIABLE}."
            return LmtuiError("the server refuses the key", self.address.host, hint)
        words = _words(data) or response.reason_phrase
        return LmtuiError(
            "the server refuses the request",
            f"{self.address.host} answers {status}: {words}",
            "Try again later." if status in (429, 503) else "",
        )


def _words(data: bytes) -> str:
    """Return what a server says of an error: the message of its JSON, or the text."""
    text = data.decode(errors="replace").strip()
    with suppress(ValueError, RecursionError, TypeError, KeyError):
        text = str(json.loads(text)["error"]["message"])
    return text[:_SHOWN]
