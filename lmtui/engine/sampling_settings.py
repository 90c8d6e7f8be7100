"""What the sampler is told: its stages and their order, bans and bias, seed and
length."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from lmtui.engine import token_bias
from lmtui.engine.grammar.text import grammar_of
from lmtui.engine.sampling.stages import STAGES
from lmtui.setting_field import MOST_TOKENS, check_fields, setting

_setting = partial(setting, at_once=True)


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """Settings of the sampler: the stages of its chain with their order, bans and bias,
    seed and length."""

    temperature: float = _setting(
        0.7,
        "Divides the logits before drawing; 0 always takes the most probable token.",
        low=0,
        high=100,
        metavar="T",
    )
    top_k: int = _setting(
        40,
        "Draw from the k most probable tokens; 0 keeps all.",
        low=0,
        high=MOST_TOKENS,
        metavar="K",
    )
    top_p: float = _setting(
        0.95,
        "Draw from the smallest set of tokens with this much probability; 1 keeps all.",
        low=0,
        high=1,
        metavar="P",
    )
    min_p: float = _setting(
        0.05,
        "Never draw a token below this fraction of the top token's probability; 0 "
        "keeps all.",
        low=0,
        high=1,
        metavar="P",
    )
    repetition_penalty: float = _setting(
        1.0,
        "Weakens tokens that are already in the context by this factor; 1 changes "
        "nothing.",
        low=0.01,
        high=100,
        metavar="X",
    )
    presence_penalty: float = _setting(
        0.0,
        "Subtracted from the logit of each token that is already in the context, "
        "prompt and answer alike; 0 changes nothing.",
        low=-100,
        high=100,
        metavar="X",
    )
    frequency_penalty: float = _setting(
        0.0,
        "Subtracted from the logit of a token for each time that it is already in the "
        "context, prompt and answer alike; 0 changes nothing.",
        low=-100,
        high=100,
        metavar="X",
    )
    penalty_window: int = _setting(
        0,
        "The three penalties see this many of the last tokens, of prompt and answer; 0 "
        "sees all.",
        low=0,
        high=MOST_TOKENS,
        metavar="N",
    )
    dry_multiplier: float = _setting(
        0.0,
        "DRY weakens the token that would go on with a repeated passage, by this times "
        "dry-base to the power of the passage's length; 0 switches it off.",
        low=0,
        high=100,
        metavar="X",
    )
    dry_base: float = _setting(
        1.75,
        "How fast DRY grows with each further token of a repeated passage.",
        low=1,
        high=100,
        metavar="X",
    )
    dry_allowed_length: int = _setting(
        2,
        "A repeated passage of fewer tokens costs nothing under DRY.",
        low=1,
        high=MOST_TOKENS,
        metavar="N",
    )
    dry_window: int = _setting(
        0,
        "DRY looks for repeats in this many of the last tokens, of prompt and answer; "
        "0 looks in all.",
        low=0,
        high=MOST_TOKENS,
        metavar="N",
    )
    dry_breakers: tuple[str, ...] = _setting(
        ("\n", ":", '"', "*"),
        "Texts that end a repeated passage for DRY.",
        metavar="LIST",
    )
    top_n_sigma: float = _setting(
        0.0,
        "Draw from tokens whose logit is within this many standard deviations of the "
        "greatest; 0 keeps all.",
        low=0,
        high=100,
        metavar="N",
    )
    typical_p: float = _setting(
        1.0,
        "Draw from the tokens whose surprise is nearest to the expected one, up to "
        "this much probability; 1 keeps all.",
        low=0,
        high=1,
        metavar="P",
    )
    xtc_probability: float = _setting(
        0.0,
        "How often XTC removes the most probable tokens; 0 switches it off.",
        low=0,
        high=1,
        metavar="P",
    )
    xtc_threshold: float = _setting(
        0.1,
        "XTC removes all tokens of at least this probability but the least probable of "
        "them; above 0.5 it does nothing.",
        low=0,
        high=1,
        metavar="P",
    )
    sampler_order: tuple[str, ...] = _setting(
        STAGES,
        "The stages of the sampler in the order in which they run; one that is left "
        "out does not run. Bans, bias and a grammar come before all of them.",
        items=STAGES,
        metavar="LIST",
    )
    logit_bias: tuple[str, ...] = _setting(
        (),
        'Tokens with what is added to their logits, as in " very=-1.5", or a ban, as '
        'in " delve=ban". A token is given by its bytes; each model finds its own.',
        metavar="LIST",
    )
    banned_phrases: tuple[str, ...] = _setting(
        (),
        "Texts that an answer may not contain, as they are written, case included: "
        "when one is complete, the answer goes back to its first token and takes "
        "another.",
        metavar="LIST",
    )
    grammar: str | None = _setting(
        None,
        "What an answer has to follow: a JSON schema, a regular expression between "
        "slashes, or a grammar as Lark or GBNF; `lmtui help grammar` shows each.",
        metavar="FILE",
    )
    seed: int | None = _setting(
        None,
        "Random seed; unset takes a new one each time.",
        low=0,
        high=2**63 - 1,
        metavar="N",
    )
    max_tokens: int = _setting(
        1024,
        "Stop an answer after this many tokens.",
        low=1,
        high=MOST_TOKENS,
        metavar="N",
    )

    def __post_init__(self) -> None:
        """Refuse values that can't be sampled with.

        Raises:
            LmtuiError: a value is out of its range, or an entry of `logit_bias` or the
                grammar can't be read.
        """
        check_fields(self)
        token_bias.parse(self.logit_bias)
        if self.grammar is not None:
            grammar_of(self.grammar)
