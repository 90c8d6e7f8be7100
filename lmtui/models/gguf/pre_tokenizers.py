"""Pre-tokenizers by the names that GGUF files give them (`tokenizer.ggml.pre`).

A byte-pair vocabulary needs the rule that cuts a text into pieces before merges apply,
and a GGUF file holds only the name of that rule. The patterns are those of the models'
own tokenizers where these are published, otherwise those by which llama.cpp replaces
them (src/llama-vocab.cpp there).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_HAN_AND_KANA = r"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_DEEPSEEK_WORDS = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
    r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
)
_DEEPSEEK_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293"
    "\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c"
    "\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5"
    "\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57"
    "\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4"
    "\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc"
    "\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d"
    "\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b"
    "\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f"
    "\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a"
    "\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb"
    "\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df"
    "\U0001e900-\U0001e943"
)
_SOUTHEAST_ASIAN = (
    "\u4e00-\u9fff\u3400-\u4dbf\u8c48-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f"
    "\u2f00-\u2fdf\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f"
    "\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff"
)


def _cl100k(digits: str) -> str:
    """Return the pattern of OpenAI's cl100k vocabulary, with other rules for digits."""
    return f"{_CONTRACTIONS}|{_WORD}|{digits}|{_SIGNS}|{_SPACES}"


def _o200k(digits: str, *, contractions: str = "", without: str = "") -> str:
    """Return the pattern of OpenAI's o200k vocabulary, which also cuts before capitals.

    `without` takes further characters out of the letters.
    """
    upper = rf"[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}{without}]"
    lower = rf"[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}{without}]"
    lead = r"[^\r\n\p{L}\p{N}]?"
    return (
        f"{lead}{upper}*{lower}+{contractions}|{lead}{upper}+{lower}*{contractions}"
        rf"|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
    )


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """The rule that cuts a text into the pieces that merges apply to."""

    patterns: tuple[str, ...]
    """Regular expressions of Oniguruma. Each cuts the pieces that the one before left;
    text between matches is a piece, too."""
    byte_level: bool = True
    """Whether the vocabulary spells bytes as GPT-2's does. Otherwise it spells a space
    as `▁`, and a byte outside its characters as `<0x0A>`."""
    ignore_merges: bool = False
    """Whether a piece that is a token is taken whole, whatever the merges."""
    adds_bos: bool = False
    """Whether BOS begins a text of a file that does not say."""


_CL100K = PreTokenizer((_cl100k(r"\p{N}{1,3}"),))
_LLAMA_3 = replace(_CL100K, ignore_merges=True, adds_bos=True)
_QWEN = PreTokenizer((_cl100k(r"\p{N}"),))
_PLAIN = PreTokenizer((_GPT2,))
_SINGLE_DIGITS = PreTokenizer((r"\p{N}", _GPT2))
_BLOOM_WORDS = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
_BLOOM = PreTokenizer((_BLOOM_WORDS,))
_DEEPSEEK_3 = PreTokenizer(
    (
        r"\p{N}{1,3}",
        _HAN_AND_KANA,
        rf"{_DEEPSEEK_WORDS}| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_SPACES}",
    )
)
_GPT_4O = PreTokenizer((_o200k(r"\p{N}{1,3}", contractions=f"{_CONTRACTIONS}?"),))
_TINY_AYA = PreTokenizer((r"\d{1,3}(?=(?:\d{3})*\b)", *_GPT_4O.patterns))
_BAILING = PreTokenizer(
    (
        rf"'(?i:[sdmt]|ll|ve|re)|{_WORD}|\p{{N}}|{_SIGNS}"
        r"|\s*[\r\n]|\s+(?!\S)|\s+",
    )
)
_KIMI = r"\p{Han}+|" + _o200k(
    r"\p{N}{1,3}", contractions=f"{_CONTRACTIONS}?", without=r"&&[^\p{Han}]"
)
_LINES = PreTokenizer((r"[^\n]+|\n+",), byte_level=False)

DEFAULT = PreTokenizer(
    (r"[\p{P}$+<=>^~|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
)
"""The rule that llama.cpp applies where a file names none."""

PRE_TOKENIZERS = {
    "default": DEFAULT,
    **dict.fromkeys(
        (
            "llama3",
            "llama-v3",
            "llama-bpe",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ),
        _LLAMA_3,
    ),
    "dbrx": _CL100K,
    "smaug-bpe": _CL100K,
    "chatglm-bpe": _CL100K,
    "glm4": replace(_CL100K, ignore_merges=True),
    "glm5": replace(_CL100K, ignore_merges=True),
    "minicpm5": PreTokenizer((r"\p{N}{1,3}", _cl100k(r"\p{N}+")), ignore_merges=True),
    **dict.fromkeys(("qwen2", "kormo", "f2llmv2", "megrez"), _QWEN),
    "qwen35": PreTokenizer(
        (
            rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
            rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACES}",
        ),
    ),
    **dict.fromkeys(
        ("deepseek-r1-qwen", "stablelm2", "hunyuan", "solar-open", "grok-2"), _QWEN
    ),
    "laguna": replace(_QWEN, patterns=(r"[^\n]+|\n+", *_QWEN.patterns)),
    "ufakzeka": PreTokenizer((rf"{_WORD}|\p{{N}}|{_SIGNS}|{_SPACES}",)),
    "seed-coder": PreTokenizer(
        (rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_SPACES}",)
    ),
    "exaone-moe": PreTokenizer(
        (
            rf"{_CONTRACTIONS}"
            r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
        )
    ),
    **dict.fromkeys(("bailingmoe", "bailingmoe2", "llada-moe"), _BAILING),
    **dict.fromkeys(
        (
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "jina-v1-en",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v2-code",
            "roberta-bpe",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "exaone4",
            "jais",
            "trillion",
            "granite-docling",
            "mpt",
            "olmo",
        ),
        _PLAIN,
    ),
    **dict.fromkeys(
        (
            "starcoder",
            "refact",
            "smollm",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
            "command-r",
        ),
        _SINGLE_DIGITS,
    ),
    "falcon": PreTokenizer((r"[\p{P}$+<=>^~|`]+", _GPT2, "[0-9][0-9][0-9]")),
    "deepseek-llm": PreTokenizer(
        (
            r"[\r\n]",
            rf"\s?[{_DEEPSEEK_LETTERS}]+",
            "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
            r"\s+$",
            "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
            r"\p{N}+",
        )
    ),
    "deepseek-coder": PreTokenizer(
        (
            r"[\r\n]",
            r"\s?\p{L}+",
            r"\s?\p{P}+",
            "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
            r"\p{N}",
        )
    ),
    **dict.fromkeys(
        ("deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"), _DEEPSEEK_3
    ),
    "spark2_5": PreTokenizer(
        (
            r"\p{N}{1,3}",
            _HAN_AND_KANA,
            rf"{_DEEPSEEK_WORDS}| ?[\p{{P}}\p{{S}}]+|[\r\n]|\s+(?!\S)|\s+",
            r"\p{N}",
        )
    ),
    "afmoe": PreTokenizer(
        (
            r"\p{N}{1,2}(?=(?:\p{N}{3})+(?!\p{N}))|\p{N}{3}|\p{N}+",
            f"[{_SOUTHEAST_ASIAN}]+",
            _DEEPSEEK_3.patterns[2],
        )
    ),
    **dict.fromkeys(("bloom", "poro-chat", "gpt3-finnish"), _BLOOM),
    "viking": PreTokenizer((_BLOOM_WORDS, r"\p{N}")),
    "tekken": PreTokenizer((_o200k(r"\p{N}"),), ignore_merges=True, adds_bos=True),
    **dict.fromkeys(("gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"), _GPT_4O),
    "granite-embed-multi-97m": replace(_GPT_4O, ignore_merges=True),
    "tiny_aya": _TINY_AYA,
    "cohere2moe": _TINY_AYA,
    "youtu": PreTokenizer(
        (
            "[\uac00-\ud7a3\u3131-\u318e]+"
            "|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c"
            "\u3001-\u303f\ufe30-\ufe4f]+"
            f"|[\u3105-\u312f]+|{_HAN_AND_KANA}",
            _o200k(r"\p{N}", contractions=f"{_CONTRACTIONS}?"),
        ),
        ignore_merges=True,
    ),
    "kimi-k2": PreTokenizer(
        (_KIMI,),
        ignore_merges=True,
    ),
    "superbpe": PreTokenizer((r"\p{N}+", r"(?=(\d{3})+(?!\d))")),
    "jais-2": PreTokenizer(
        (
            rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_SIGNS}|\s*[\r\n]+|"
            + "|".join(rf"\s{{{2**n}}}(?!\S)" for n in range(9, 1, -1))
            + r"|\s{1,2}(?!\S)|\s",
        )
    ),
    "chameleon": PreTokenizer(
        (
            "<sentinel:[0-9]+>",
            "IMGIMG[A-I]{1,4}Z",
            r"[\t\n]|    |  ",
            r"\p{N}",
            r"[\p{P}!-/:-@\[-`{-~]",
            _GPT2,
        ),
        adds_bos=True,
    ),
    "gemma4": replace(_LINES, adds_bos=True),
    "granite-embed-multi-311m": replace(_LINES, adds_bos=True),
    "sarvam-moe": _LINES,
}
"""All names that llama.cpp knows, but for `whitespace`, which no causal model uses."""
