"""Pages to proofread: texts with planted slips and what belongs in their place, and
texts without a slip."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """Text, and its slips in the order of the text, each as (wrong, right)."""

    text: str
    slips: tuple[tuple[str, str], ...] = ()
    least: float = 0.6
    """Share of the slips that must be found."""


LIGHTHOUSE = Page(
    """\
Teh old lighthouse stands at the end of the the harbour wall. It's light was put out \
ten years ago, and the keeper could of gone to live with his daughter, but he stayed. \
In March he recieved a letter from the council. Their was a plan to sell the tower, \
witch nobody in the village had heard of.

"I want too stay here and watch the see," he told them. "Its been my home for forty \
years, and that is definately more then most of you can say. Your going to need me \
when the fog comes. I seen it a hundred times."

He was right. In the the first week of autumn a ship's was lost on the rocks, and then \
two boats. They was all from the village. The keeper layed a blanket over the \
youngest sailor and made tea, and the boy drank it's last drop. "Come again \
tommorow," said the old man.
""",
    (
        ("Teh", "The"),
        ("the the", "the"),
        ("It's", "Its"),
        ("could of", "could have"),
        ("recieved", "received"),
        ("Their was", "There was"),
        ("witch", "which"),
        ("too stay", "to stay"),
        ("see", "sea"),
        ("Its been", "It's been"),
        ("definately", "definitely"),
        ("more then", "more than"),
        ("Your going", "You're going"),
        ("I seen", "I saw"),
        ("the the", "the"),
        ("ship's was", "ship was"),
        ("They was", "They were"),
        ("layed", "laid"),
        ("it's", "its"),
        ("tommorow", "tomorrow"),
    ),
    least=0.7,
)

CLEAN_LETTER = Page("""\
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
""")

CLEAN_ESSAY = Page("""\
In 1859, Richard Carrington was sketching sunspots at his observatory in Redhill when \
two beads of white light appeared over the largest group. He ran to fetch a witness, \
and by the time he had come back, sixty seconds later, they were nearly gone. That \
night the sky over Cuba turned red, telegraph wires in Pittsburgh threw sparks, and \
gold miners in the Rocky Mountains got up and cooked breakfast, since they thought \
that it was morning.

What had happened is now called a coronal mass ejection. The Sun's magnetic field \
snapped, and a cloud of plasma was thrown into space; it then crossed the distance to \
Earth in less than eighteen hours. Most take three days or more. Had it been aimed \
elsewhere, nobody would have noticed anything except the flash.

A storm of that size would do far more harm today than it did then. Satellites could \
lose their orientation, and transformers, whose cores saturate when direct current \
flows through them, could overheat. In March 1989 a much weaker storm knocked out \
Hydro-Québec's grid within ninety seconds, and six million people lost their power.

Nobody knows how often such storms occur. Ice cores were once believed to hold a \
record of them, but the nitrate spikes turned out to have other causes. The best \
estimates range from once in a century to once in five. Whichever of them is right, \
it's cheaper to prepare than to repair.
""")

WORKSHOP = Page(
    """\
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
""",
    (
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
    ),
)
"""Its slips were planted before the rules were written, by someone who did not know
them."""

FERRY = Page("""\
The ferry to the island leaves at seven in the morning and at half past four in the
afternoon. Its captain, who has worked on this line for more than twenty years, knows
every rock and every current between the two harbours. When there is fog, he stops the
engine and listens. "You can hear the coast before you see it," he says, and his crew
have learned not to speak to him then.

We were the only passengers that day. The wind had turned to the north during the night,
and the sea was rougher than the forecast had promised. Their dog, a grey terrier that
goes wherever the captain goes, was lying under the bench and did not move until we had
passed the lighthouse. I asked whether it was afraid. "She's not afraid," said the
captain, "she's bored. It's a long way for a dog that has seen it all before."

On the island itself there are two shops, a church and a school with eleven pupils. You
could walk from one end to the other in an hour, if you're not too fond of stopping. We
stopped often: at the old quarry, whose walls are covered with ferns; at a farm where a
woman sold us eggs, butter and bread that was still warm; and by the beach, to look at
the seals. They looked back at us, as if we were the ones who ought to be explained.
""")

PAGES = {"lighthouse": LIGHTHOUSE, "workshop": WORKSHOP}
"""Pages with slips."""
CLEAN = {"letter": CLEAN_LETTER, "essay": CLEAN_ESSAY, "ferry": FERRY}
"""Pages without one."""
