"""Pages to proofread: one with planted slips and what belongs in their place, and one
without a slip."""

from __future__ import annotations

CLEAN = """\
Dear Margaret,

Thank you for the parcel from Aberystwyth; it's the nicest thing that has come through \
our door since Eoghan's birthday. The colour of the wool suits me, or so Mrs Okonkwo \
says, and she doesn't flatter anyone. I'd have written sooner, but the neighbours' \
roof lost half its tiles in Tuesday's gale and they've been staying with us.

Their daughter Siobhán is a programmer at a start-up in Gdańsk. "We're rewriting the \
whole tokenizer in Rust," she told me over the marmalade, "and then we'll see whether \
it's any faster than the old one." I didn't understand a word, and I told her so.

You're quite right about the theater in Ann Arbor: too few seats, and those that there \
are were made for children. We saw Dvořák's Rusalka there in '98, didn't we? Who's \
going to believe that the two of us sat through it on a step?

I've realised that I shan't travel again before May. There's a bench by the harbor, \
though, where one can sit and watch the sea and think of you.

Yours ever,
Wilhelmina
"""

PAGE = """\
Dear Margaret,

I hope you are well and that the move went smoothly. We finally got the keys too the
new workshop on Tuesday, and I have spent the hole week sweeping the floor and putting
up shelves. The landlord left alot of rubbish in the yard, so my brother has borrowed
a van and we are going to take it to the dump on Saturday. Its not as big as the old
place but the light is wonderful, especialy in the afternoon, when the sun comes
through the tall windows at the back.

You asked weather the kiln survived. It did, though one of the legs was bent and the
the thermostat has to be replaced. I wrote to the manufacturer three weeks ago and
they have not replied yet. If I dont hear from them by Friday I will of to find a
second-hand one. Peter thinks we should by a new kiln and be done with it, but that
would cost more then we earned all summer.

The new neighbours is friendly. There daughter wants to learn how to throw pots, and
she has allready made two small bowls and a rather crooked vase. I could of told her
that the clay was to wet, but she was so proud that I did not have the heart. She will
learn that by herself, as we all do.

Please let me know if your coming in October. There is a seperate room with a bed, and
the garden is lovely at that time of year. We except the first frost around the
twentieth, so bring a warm coat. Me and Peter is looking forward to your visit, and we
would of course pick you up at the station.

With love, and sorry for the long silense,

Anna
"""
SLIPS = (
    ("too", "to"),
    ("hole", "whole"),
    ("alot", "a lot"),
    ("Its", "It's"),
    ("especialy", "especially"),
    ("weather", "whether"),
    ("the\nthe", "the"),
    ("dont", "don't"),
    ("will of", "will have"),
    ("by", "buy"),
    ("then", "than"),
    ("is", "are"),
    ("There", "Their"),
    ("allready", "already"),
    ("of", "have"),
    ("to", "too"),
    ("your", "you're"),
    ("seperate", "separate"),
    ("except", "expect"),
    ("is", "are"),
    ("silense", "silence"),
)
"""In the order of the text, each as (wrong, right). They were planted before the rules
were written, by someone who did not know them."""

SENTENCES = (
    ("The cat licked it's paw.", "The cat licked its paw."),
    ("Its a nice day.", "It's a nice day."),
    ("The dog wagged it's tail.", "The dog wagged its tail."),
    ("The team lost it's way due to it's size.",
     "The team lost its way due to its size."),
    ("Your late again.", "You're late again."),
    ("You should of told me.", "You should have told me."),
    ("I would like a peace of cake.", "I would like a piece of cake."),
    ("He effects my mood.", "He affects my mood."),
    ("They was happy.", "They were happy."),
    ("She go to school every day.", "She goes to school every day."),
    ("I have went home.", "I have gone home."),
    ("There are less people than before.", "There are fewer people than before."),
    ("The principle reason is clear.", "The principal reason is clear."),
    ("Loose the weight.", "Lose the weight."),
    ("I recieved alot of mail.", "I received a lot of mail."),
)  # fmt: skip
"""Sentences with slips, and without them."""
