"""Connection to a server: requests that can be stopped, and answers of bounded size.

A request runs on an event loop of its own, in the thread that waits for it, so that a
stop closes the connection and the server ends its work. Knows no model.
"""

from __future__ import annotations

import asyncio
import json
import math
import weakref
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
)
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import httpx2

from lmtui import cancellation
from lmtui.errors import LmtuiError
from lmtui.models.remote.address import KEY_VARIABLE, Address
from lmtui.models.remote.checks import RequestRefused

T = TypeVar("T")

_POLL = 0.02  # seconds between two looks at whether the answer is still wanted
_TIMEOUT = httpx2.Timeout(60, connect=10, read=600)  # a long prompt takes minutes
_PATIENCE = 60.0  # seconds between two parts of a streamed answer
_SHORT = 1 << 20  # bytes of an answer that is no data, about
_HINTS = {
    404: "Check the address, and leave --dialect out: the server is asked what it is.",
    429: "Try again later.",
    503: "Try again later.",
}
_SHOWN = 300  # characters that are shown of a server's own words


class Connection:
    """Connection to one server. One thread at a time uses it.

    Its methods raise an LmtuiError where the server can't be reached, refuses, sends
    nonsense, or breaks off.
    """

    def __init__(
        self,
        address: Address,
        key: str | None = None,
        *,
        key_variable: str = KEY_VARIABLE,
    ) -> None:
        """`key` is sent to this server and nowhere else. Where the server refuses it,
        the error names `key_variable`, which it comes from."""
        self.address = address
        self._key_variable = key_variable
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

    def json(self, path: str, body: Any = None, *, most: int = _SHORT) -> Any:
        """Return the JSON of an answer of up to `most` bytes: to a POST of `body`, or
        to a GET."""
        data = self.data(path, body, most=most)
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise self.nonsense("it is not JSON") from None

    def data(self, path: str, body: Any = None, *, most: int = _SHORT) -> bytes:
        async def whole() -> bytes:
            parts = self._streamed(path, body, _cut_nothing, most)
            return b"".join([part async for part in parts])

        return self._wait(whole())

    def events(self, path: str, body: Any, *, most: int = _SHORT) -> Generator[Any]:
        """Yield the JSON of each event of an answer that is streamed, up to `[DONE]`;
        an event has up to `most` bytes. Closing the iterator ends the server's work."""
        for line in self._parts(path, body, _cut_lines, most):
            name, _, text = line.partition(b":")
            if name == b"error":  # older versions of llama-server
                raise self._failed(text)
            if name != b"data":  # a comment, or a field that nobody needs
                continue
            if text.strip() == b"[DONE]":
                return
            try:
                event = json.loads(text)
            except (ValueError, RecursionError):
                raise self.nonsense("an event is not JSON") from None
            if isinstance(event, dict) and event.get("error"):
                raise self._failed(text)
            yield event

    def records(self, path: str, body: Any, size: int) -> Generator[bytes]:
        """Yield the records of an answer that is streamed, each of `size` bytes."""
        for record in self._parts(path, body, _cut_records, size):
            if len(record) < size:
                raise self.nonsense("it ends within a row")
            yield record

    def _parts(self, path: str, body: Any, cut: _Cut, size: int) -> Generator[bytes]:
        streamed = self._streamed(path, body, cut, size)
        patience = math.inf  # a long prompt takes minutes; its answer goes on
        try:
            while (part := self._wait(anext(streamed, None), patience)) is not None:
                yield part
                patience = _PATIENCE
        finally:
            if self._end.alive:
                self._loop.run_until_complete(streamed.aclose())

    def close(self) -> None:
        """Close the connection; twice is as good as once."""
        if not self._end.alive:
            return
        try:
            with suppress(httpx2.HTTPError, OSError):  # the server may be gone
                self._loop.run_until_complete(self._client.aclose())
        finally:
            self._end()

    def nonsense(self, detail: str) -> LmtuiError:
        return LmtuiError(
            "the server's answer can't be used",
            f"{self.address.host}: {detail}",
            "Check the address, or say what the server is with --dialect.",
        )

    def _wait(self, request: Awaitable[T], patience: float = math.inf) -> T:
        async def watched() -> T:
            task = asyncio.ensure_future(request)
            deadline = self._loop.time() + patience
            try:
                while not (await asyncio.wait([task], timeout=_POLL))[0]:
                    cancellation.check()
                    if self._loop.time() > deadline:
                        raise self._silent()
                return task.result()
            finally:
                if not task.done():
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task

        return self._loop.run_until_complete(watched())

    async def _streamed(
        self, path: str, body: Any, cut: _Cut, size: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield the parts of an answer to a POST of `body`, or to a GET, and what is
        left at its end; a part has up to `size` bytes."""
        method, url = "GET" if body is None else "POST", f"{self.address.url}{path}"
        begun = False
        with self._explained():
            for last in (False, True):
                try:
                    unread = bytearray()
                    async with self._client.stream(method, url, json=body) as response:
                        if response.status_code != 200:
                            raise await self._refused(response)
                        async for data in response.aiter_raw():
                            unread += data
                            parts = cut(unread, size)
                            if max(map(len, (unread, *parts))) > size:
                                raise self.nonsense("it is too long")
                            for part in parts:
                                begun = True
                                yield part
                    if unread:
                        yield bytes(unread)
                    return
                # A connection that was kept open is closed when a server starts anew.
                # Every request can be made twice: none changes anything there.
                except (
                    httpx2.RemoteProtocolError,
                    httpx2.ReadError,
                    httpx2.WriteError,
                ):
                    if last or begun:
                        raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the library's errors into sentences."""
        try:
            yield
        except httpx2.ConnectError as error:
            raise LmtuiError(
                "the server can't be reached",
                f"{self.address.host}: {error}".rstrip(": "),
                "Start it, or check the address.",
            ) from error
        except httpx2.TimeoutException as error:
            raise self._silent() from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise LmtuiError(
                "the connection to the server broke off",
                self.address.host,
                "Try again.",
            ) from error

    def broke_off(self) -> LmtuiError:
        return LmtuiError(
            "the answer broke off", f"{self.address.host} sends no more", "Try again."
        )

    def _silent(self) -> LmtuiError:
        return LmtuiError(
            "the server does not answer",
            self.address.host,
            "Try again, or ask for less at once.",
        )

    def _failed(self, event: bytes) -> LmtuiError:
        return RequestRefused(
            "the server ended the answer with an error",
            f"{self.address.host}: {_words(event)}",
            "Try again.",
        )

    async def _refused(self, response: httpx2.Response) -> LmtuiError:
        status, data = response.status_code, bytearray()
        async for part in response.aiter_raw():
            data += part
            if len(data) > _SHORT:
                break
        if 300 <= status < 400:
            where = response.headers.get("location", "")[:_SHOWN]
            return LmtuiError(
                "the server sends requests on to another address",
                f"{self.address.host} to {where}",
                "Give that address, if you trust it.",
            )
        hint = f"Put its key into the variable {self._key_variable}."
        if status == 401:
            return LmtuiError("the server refuses the key", self.address.host, hint)
        words = _words(bytes(data)) or response.reason_phrase
        if status >= 500:  # its own trace may follow
            words = words.partition("\n")[0]
        return RequestRefused(
            "the server refuses the request",
            f"{self.address.host} answers {status}: {words}",
            hint if status == 403 else _HINTS.get(status, ""),
            status=status,
        )


_Cut = Callable[[bytearray, int], list[bytes]]
"""Takes the whole parts from the beginning of what has come, given their size."""


def _cut_nothing(*_: object) -> list[bytes]:
    return []


def _cut_lines(data: bytearray, _: int) -> list[bytes]:
    *lines, data[:] = data.split(b"\n")
    return [bytes(line.rstrip(b"\r")) for line in lines]


def _cut_records(data: bytearray, size: int) -> list[bytes]:
    end = len(data) // size * size
    records = [bytes(data[start : start + size]) for start in range(0, end, size)]
    del data[:end]
    return records


def _words(data: bytes) -> str:
    """Return what a server says of an error: the message of its JSON, or the text."""
    text = data.decode(errors="replace").strip()
    with suppress(ValueError, RecursionError, TypeError, KeyError):
        said = json.loads(text)
        # vLLM's older versions, and SGLang's, have no `error` around it.
        error = said.get("error") or said.get("detail") or said
        text = str(error["message"] if isinstance(error, dict) else error)
    return text[:_SHOWN]
