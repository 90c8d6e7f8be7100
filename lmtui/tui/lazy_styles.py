"""A stylesheet that computes no style that is not used, and parses no sheet twice.

A widget has a style for each of its component classes, and Textual computes all of them
whenever the widget's own style may have changed: three quarters of all work on styles,
most of it for classes that are not drawn. It also parses every sheet again for the
first screen of each class.
"""

from __future__ import annotations

from textual.css.styles import RenderStyles
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode


class LazyStylesheet(Stylesheet):
    """A stylesheet that computes the style of a component class when it is used, and
    parses each sheet once for the same variables."""

    def set_variables(self, variables: dict[str, str]) -> None:
        """Use these variables; without a change, what was parsed is used again."""
        if variables != self._variables:
            super().set_variables(variables)

    def reparse(self) -> None:
        """Parse the sheets with the current variables; if one is wrong, the rules stay
        as they were."""
        self.parse()

    def _process_component_classes(self, node: DOMNode) -> None:
        """Compute the styles in use anew, and draw the node if one has changed."""
        if not (classes := node._get_component_classes()):
            return
        old_styles = node._component_styles
        styles = ComponentStyles(self, node, classes)
        node._component_styles = styles
        if any(styles[name] != style for name, style in old_styles.items()):
            node.refresh()


class ComponentStyles(dict[str, RenderStyles]):
    """The styles of a node's component classes, as far as they were used."""

    def __init__(
        self, stylesheet: Stylesheet, node: DOMNode, classes: frozenset[str]
    ) -> None:
        super().__init__()
        self._stylesheet, self._node, self._classes = stylesheet, node, classes

    def __contains__(self, name: object) -> bool:
        return name in self._classes

    def __missing__(self, name: str) -> RenderStyles:
        inner = DOMNode(classes=name)
        inner._attach(self._node)
        self._stylesheet.apply(inner, animate=False)
        self[name] = inner.styles
        return inner.styles
