"""A conversation as it reads: what is brought, what is let go of, what is said."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from lmtui.tui.chat.message import Entry, MessageView
from lmtui.tui.chat.transcript import MOST, PART, STEP, Transcript
from tests.tui.hosts import HOSTILE, Host, safe, until
from tests.tui.widgets.test_markdown import MARKDOWN, SAMPLE, drawn

HEIGHT = 24
LONG = "one two three four five six seven eight nine ten eleven twelve " * 2


def talk(count: int) -> list[Entry]:
    """Messages of one line and of many, whose lines all differ."""
    return [
        Entry(
            str(number),
            ("user", "assistant")[number % 2],
            "\n\n".join(f"m{number} line {line}" for line in range(1 + number % 7)),
            writer=f"writer {number}",
        )
        for number in range(count)
    ]


async def shown(entry: Entry, width: int) -> list[str]:
    """The lines of a message alone, without its bar."""
    transcript = Transcript("nothing")
    app = Host(transcript)
    async with app.run_test(size=(width, 80)) as pilot:
        await transcript.show([entry])
        await pilot.pause()
        return lines_of(transcript.query_one(MessageView))


def lines_of(view: MessageView) -> list[str]:
    return [view.render_line(y).text[2:].rstrip() for y in range(view.size.height)]


@settings(max_examples=10, deadline=None)
@given(MARKDOWN, st.integers(20, 80))
async def test_an_answer_reads_as_its_markdown(text: str, width: int) -> None:
    head, *lines = await shown(Entry("1", "assistant", text, writer="M"), width)
    assert head == "M"
    # Beside the text are the padding of the conversation and the bar, three cells.
    filled = [line for line in lines if line.strip()]
    assert filled == [line for line in drawn(text, width - 5) if line.strip()]


@pytest.mark.parametrize("width", [24, 100])
async def test_user_message_is_drawn_as_it_was_written(width: int) -> None:
    head, *lines = await shown(Entry("1", "user", SAMPLE + LONG, writer="You"), width)
    assert head == "You"
    assert "".join("".join(lines).split()) == "".join((SAMPLE + LONG).split())
    assert all(len(line) <= width - 5 for line in lines)


@pytest.mark.parametrize("role", ["user", "assistant"])
async def test_hostile_messages_are_only_text(role: str) -> None:
    transcript = Transcript("nothing")
    app = Host(transcript)
    entries = [
        Entry(name, role, text, writer=text, note=text[:99])
        for name, text in HOSTILE.items()
    ]
    async with app.run_test(size=(40, 80)) as pilot:
        await transcript.show(entries)
        await pilot.pause()
        views = list(transcript.query(MessageView))
        assert len(views) == len(HOSTILE)
        for view in views:
            assert safe("\n".join(lines_of(view)))


def seen(app: Host) -> list[str]:
    return [line.strip(" █▁▂▃▄▅▆▇") for line in app.lines()]


async def scrolled(pilot: Pilot[None], app: Host, by: int) -> set[str]:
    """What is seen while a conversation is scrolled to an end of it. What was seen
    before stands where it should afterwards, and no message is there twice."""
    transcript = app.query_one(Transcript)
    lines: set[str] = set()
    still = 0
    while still < 3:
        before, at = seen(app), transcript.scroll_y
        lines.update(before)
        transcript.scroll_relative(y=by, animate=False)
        for _ in range(3):
            await pilot.pause()
        after = seen(app)
        keys = [int(view.key) for view in app.query(MessageView)]
        assert keys == list(range(keys[0], keys[0] + len(keys)))
        assert len(keys) <= MOST + STEP
        still = still + 1 if after == before and at == transcript.scroll_y else 0
        for line in set(before) & set(after):
            if line.startswith("m") and not still:
                assert 0 <= (before.index(line) - after.index(line)) * by <= by * by
    return lines


@pytest.mark.parametrize("by", [6, 20])
async def test_scrolling_the_transcript_shows_every_message(by: int) -> None:
    entries = talk(36)
    texts = {line for entry in entries for line in entry.text.split("\n\n")}
    transcript = Transcript("nothing")
    app = Host(transcript)
    async with app.run_test(size=(60, HEIGHT)) as pilot:
        await transcript.show(entries)
        await pilot.pause()
        for way in (-by, by):
            lines = await scrolled(pilot, app, way)
            assert texts <= lines
        assert transcript.query(MessageView).last().key == "35"


async def test_transcript_unloads_messages_far_above() -> None:
    transcript = Transcript("nothing")
    async with Host(transcript).run_test():
        for number in range(MOST + PART + 1):
            await transcript.add(Entry(str(number), "user", f"q{number}"))
        views = list(transcript.query(MessageView))
        assert views[0].text == f"q{PART + 1}" and len(views) == MOST


@pytest.mark.parametrize("at", [None, "100"])
async def test_transcript_fills_a_screen_of_any_height(at: str | None) -> None:
    entries = [Entry(str(n), "user", f"m{n}", writer="You") for n in range(200)]
    transcript = Transcript("nothing")
    app = Host(transcript)

    def filled(least: int) -> bool:
        shown = sum(line.startswith("m") for line in seen(app))
        return transcript.max_scroll_y > 0 and shown >= least

    async with app.run_test(size=(60, 30)) as pilot:
        await transcript.show(entries, at=at)
        await pilot.pause()
        for height in (30, 90, 150):
            await pilot.resize_terminal(60, height)
            # It brings a few messages at a time.
            await until(pilot, partial(filled, height // 3 - 2))
        if at is None:
            assert "m199" in seen(app)


@pytest.mark.parametrize(
    ("role", "text", "said"),
    [
        ("user", LONG + "\nend", LONG.rstrip() + "\nend"),
        ("user", "a\tb  c\n\n  d", "a       b  c\n\n  d"),
        (
            "assistant",
            "first line\n\nsecond 漢字 line",
            "first line\n\nsecond 漢字 line",
        ),
    ],
)
async def test_selected_message_text_reads_as_it_was_written(
    role: str, text: str, said: str
) -> None:
    transcript = Transcript("nothing")
    app = Host(transcript)
    async with app.run_test(size=(40, HEIGHT)) as pilot:
        await transcript.show([Entry("1", role, text, writer="W")])
        await pilot.pause()
        view = transcript.query_one(MessageView)
        await pilot.mouse_down(view, offset=(0, 1))
        end = (view.size.width - 1, view.size.height - 1)
        await pilot.hover(view, offset=end)
        await pilot.mouse_up(view, offset=end)
        await pilot.pause()
        assert app.screen.get_selected_text() == said


async def test_part_of_a_line_of_wide_characters_can_be_selected() -> None:
    transcript = Transcript("nothing")
    app = Host(transcript)
    async with app.run_test(size=(40, HEIGHT)) as pilot:
        await transcript.show([Entry("1", "assistant", "漢字漢字 end", writer="W")])
        await pilot.pause()
        view = transcript.query_one(MessageView)
        await pilot.mouse_down(view, offset=(6, 1))
        await pilot.hover(view, offset=(12, 1))
        await pilot.mouse_up(view, offset=(12, 1))
        await pilot.pause()
        assert app.screen.get_selected_text() == "漢字 en"
