"""Parts of the page: the base of our own components, and a row that wraps."""

from __future__ import annotations

import hashlib
from typing import Any

import panel as pn
from panel.custom import JSComponent

__all__ = ["PageComponent", "bar"]

BAR_CSS = """
:host {
  display: flex !important; flex-flow: row wrap !important; gap: 8px 10px !important; align-items: center !important;
}
"""


class PageComponent(JSComponent):  # type: ignore[misc]  # Panel has no types
    """A component whose script is plain JavaScript and is read once by the page, however many of it there are.

    Panel takes a script without a bundle for TypeScript and translates it in the browser, 35 ms for each component.
    """

    __abstract = True

    def _get_properties(self, doc: Any) -> dict[str, Any]:
        properties: dict[str, Any] = super()._get_properties(doc)
        if properties["bundle"] is None:
            properties["bundle"] = hashlib.sha256(properties["esm"].encode()).hexdigest()
        return properties

    def _update_properties(self, *events: Any, doc: Any) -> dict[str, Any]:
        # Panel works out its style sheets anew at every change, a third of what a drawing costs, and wants them here
        if any(event.name == "stylesheets" for event in events):
            return dict(super()._update_properties(*events, doc=doc))
        return dict(self._process_param_change({event.name: event.new for event in events}))


def bar(*items: Any, margin: Any = 0) -> Any:
    """A row that goes on below where it is too narrow; Panel's own flexible box costs ten times as much to make."""
    # a Row would ask for the sum of their widths, and whatever holds it would grow
    return pn.Column(*items, margin=margin, sizing_mode="stretch_width", stylesheets=[BAR_CSS])
