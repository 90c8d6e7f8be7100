"""Addresses of servers: what they mean, and those that can't be used."""

from __future__ import annotations

import pytest

from lmtui.errors import LmtuiError
from lmtui.models.remote.address import is_address, parse
from lmtui.models.source import ModelRef, named, resolve, short_label

ADDRESSES = {
    "http://127.0.0.1:8080/v1": ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
    "http://127.0.0.1:8080": ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
    "HTTPS://Example.org/a/v1/": ("https://example.org/a", "example.org", False),
    "http://[::1]:81/v1#a%20b": ("http://[::1]:81", "[::1]:81", True),
    "http://[::1]:80/v1": ("http://[::1]", "[::1]", True),
    "https://a.org:443/v1": ("https://a.org", "a.org", False),
    "https://a.org:80": ("https://a.org:80", "a.org:80", False),
    "http://api.localhost": ("http://api.localhost", "api.localhost", True),
    "http://localhost.evil.org": (
        "http://localhost.evil.org", "localhost.evil.org", False
    ),
}  # fmt: skip
"""The URL, the host, and whether that is this machine."""


@pytest.mark.parametrize("spec", ADDRESSES)
def test_address_is_read_with_or_without_its_version(spec: str) -> None:
    address = parse(spec)
    assert is_address(spec)
    assert (address.url, address.host, address.is_loopback) == ADDRESSES[spec]
    assert address.is_encrypted == spec.lower().startswith("https")
    assert address.model == ("a b" if "#" in spec else "")


@pytest.mark.parametrize(
    "spec",
    [
        "http://",
        "http://host:99999",
        "http://host/v1?key=1",
        "http://[::1",
        "https:///v1",
    ],
)
def test_address_that_can_not_be_used_says_how_one_looks(spec: str) -> None:
    with pytest.raises(LmtuiError) as caught:
        parse(spec)
    assert "http://127.0.0.1:8080/v1" in caught.value.hint


def test_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(LmtuiError) as caught:
        parse("http://user:secret@host/v1")
    assert "secret" not in str(caught.value)
    assert "LMTUI_API_KEY" in caught.value.hint
    with pytest.raises(LmtuiError) as caught:
        parse("http://user:secret@host/v1", key_variable="GPU_KEY")
    assert "GPU_KEY" in caught.value.hint


def test_query_of_an_address_is_not_repeated() -> None:
    for spec in ("http://host/v1?api_key=SECRET", "http://host:x/v1?api_key=SECRET"):
        with pytest.raises(LmtuiError) as caught:
            parse(spec)
        assert "SECRET" not in f"{caught.value} {caught.value.detail}"


def test_label_of_a_model_there_names_it_again() -> None:
    label = parse("http://127.0.0.1:8080").label("mine + notes/1")
    assert parse(label).model == "mine + notes/1"
    assert named(label) == ModelRef(label)
    assert short_label(label) == "mine + notes/1 at 127.0.0.1:8080"
    assert short_label("http://127.0.0.1:81") == "a model at 127.0.0.1:81"
    assert short_label("http://[") == "http://["


def test_server_is_no_model_of_this_machine() -> None:
    with pytest.raises(LmtuiError, match="on this machine"):
        resolve("http://127.0.0.1:8080/v1")
