"""Chat templates, rendered as transformers renders them.

Templates come with models, so that they run in jinja2's sandbox, with access to the
conversation only. `template_renderer` limits their time and memory.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import DictLoader, meta, nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace


class _Generation(Extension):
    """The tag `{% generation %}`, which marks answers for training: rendered as its
    body."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(Namespace):
    """A namespace for a template's variables, whose names can't begin with an
    underscore."""

    def __init__(self, **values: Any) -> None:
        for name in values:
            _require_plain(name)
        super().__init__(**values)

    def __setitem__(self, name: str, value: Any) -> None:
        _require_plain(name)
        super().__setitem__(name, value)


def _require_plain(name: str) -> None:
    if name.startswith("_"):
        raise SecurityError(f"a template can't set {name}")


def compiled(template: str) -> Any:
    """Compile a template for rendering.

    Raises:
        jinja2.TemplateError: it is damaged.
    """
    environment = _environment()
    environment.filters["tojson"] = _to_json
    environment.globals["namespace"] = _Namespace
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template)


def variables(template: str) -> frozenset[str]:
    """Return the names that a template looks up; an empty set for a damaged one."""
    environment = _environment()
    try:
        return frozenset(meta.find_undeclared_variables(environment.parse(template)))
    except TemplateError:
        return frozenset()


def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, loopcontrols],
        loader=DictLoader({}),  # there is nothing to include
    )


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Dump JSON without the HTML escapes of jinja2's own filter."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)
