"""Addresses of servers: what they mean, and those that can't be used."""

from __future__ import annotations

import pytest

from lmtui.errors import LmtuiError
from lmtui.models.remote.address import Address, is_address, parse
from lmtui.models.source import ModelRef, named, resolve, short_label

PLACES = {
    "http://127.0.0.1:8080/v1": Address("http://127.0.0.1:8080", "127.0.0.1:8080",
                                        is_loopback=True, is_encrypted=False),
    "http://127.0.0.1:8080": Address("http://127.0.0.1:8080", "127.0.0.1:8080",
                                     is_loopback=True, is_encrypted=False),
    "HTTPS://Example.org/a/v1/": Address("https://example.org/a", "example.org",
                                              is_loopback=False, is_encrypted=True),
    "http://[::1]:81/v1#a%20b": Address("http://[::1]:81", "[::1]:81", is_loopback=True,
                                        is_encrypted=False, model="a b"),
    "http://[::1]:80/v1": Address("http://[::1]", "[::1]", is_loopback=True,
                                  is_encrypted=False),
    "https://a.org:443/v1": Address("https://a.org", "a.org", is_loopback=False,
                                    is_encrypted=True),
    "https://a.org:80": Address("https://a.org:80", "a.org:80", is_loopback=False,
                                is_encrypted=True),
    "http://api.localhost": Address("http://api.localhost", "api.localhost",
                                    is_loopback=True, is_encrypted=False),
    "http://localhost.evil.org": Address("http://localhost.evil.org",
                                         "localhost.evil.org", is_loopback=False,
                                         is_encrypted=False),
}  # fmt: skip


@pytest.mark.parametrize("spec", PLACES)
def test_address_is_read_with_or_without_its_version(spec: str) -> None:
    assert is_address(spec)
    assert parse(spec) == PLACES[spec]


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
