"""Lines of notes that look like secrets: keys, tokens, passwords.

Tells where they are, and masks them. Knows the forms that providers give to their keys,
and assignments of passwords; anything else is not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_KEYS = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY[\s\S]*?(?:-----END [A-Z ]*-----|\Z)"
    r"|\b(?:"
    r"(?:AKIA|ASIA)[0-9A-Z]{16}"  # AWS
    r"|sk-[\w-]{16,}|sk_live_\w{16,}"  # OpenAI, Anthropic, Stripe
    r"|gh[opsru]_\w{30,}|github_pat_\w{22,}|glpat-[\w-]{20,}"  # GitHub, GitLab
    r"|hf_[A-Za-z0-9]{30,}|xox[abprs]-[\w-]{10,}|AIza[\w-]{35}"  # HF, Slack, Google
    r")"
)
_ASSIGNED = re.compile(
    r"(?:password|passwd|passwort|kennwort|passphrase"
    r"|(?:api|access|secret)[_-]?(?:access[_-]?)?key|client[_-]?secret"
    r"|(?:access|auth|api)[_-]?token)"
    r"""["']?[ \t]*(=|:)[ \t]*(["']?)([^\s"']{6,})""",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"[<$*{\[(%]|\.\.\.|x{4}|your|example", re.IGNORECASE)


def secret_lines(text: str) -> Iterator[int]:
    """Yield the numbers of lines that look like a secret, from 1 on."""
    matches = [*_KEYS.finditer(text), *filter(_is_value, _ASSIGNED.finditer(text))]
    line, at, last = 1, 0, 0
    for start in sorted(match.start() for match in matches):
        line += text.count("\n", at, start)
        at = start
        if line != last:
            yield line
        last = line


def masked(text: str) -> str:
    """Return a text with `…` in the place of what looks like a secret."""
    text = _KEYS.sub("…", text)
    return _ASSIGNED.sub(lambda match: "…" if _is_value(match) else match[0], text)


def _is_value(assigned: re.Match[str]) -> bool:
    """Return whether a password seems to be assigned: prose such as `password:
    required` has only letters behind a colon."""
    sign, quote, value = assigned.groups()
    if _PLACEHOLDER.match(value):
        return False
    return sign == "=" or bool(quote) or not value.rstrip(".,;:!?)").isalpha()
