"""The instruments that the pages of a course can use, by name."""

from __future__ import annotations

from collections.abc import Mapping

from lmtui.learn.instrument import Instrument
from lmtui.learn.instruments.bars import BarsInstrument
from lmtui.learn.instruments.chain import ChainInstrument
from lmtui.learn.instruments.continuations import DecodingInstrument
from lmtui.learn.instruments.counts import CountsInstrument
from lmtui.learn.instruments.effects import EffectsInstrument
from lmtui.learn.instruments.guess import GuessInstrument
from lmtui.learn.instruments.lens import LensInstrument
from lmtui.learn.instruments.passes import PassesInstrument
from lmtui.learn.instruments.scratch import ScratchInstrument
from lmtui.learn.instruments.softmax import SoftmaxInstrument
from lmtui.learn.instruments.surprise import SurpriseInstrument

INSTRUMENTS: Mapping[str, type[Instrument]] = {
    kind.NAME: kind
    for kind in (
        BarsInstrument,
        GuessInstrument,
        ChainInstrument,
        PassesInstrument,
        SoftmaxInstrument,
        SurpriseInstrument,
        CountsInstrument,
        DecodingInstrument,
        ScratchInstrument,
        LensInstrument,
        EffectsInstrument,
    )
}
