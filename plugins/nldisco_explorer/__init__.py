"""The browser explorer of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nldisco_explorer.notebook import explore
    from nldisco_explorer.server import app, serve

__all__ = ["app", "explore", "serve"]


def __getattr__(name: str) -> Any:
    if name == "explore":
        from nldisco_explorer.notebook import explore

        return explore
    if name in __all__:
        from nldisco_explorer import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
