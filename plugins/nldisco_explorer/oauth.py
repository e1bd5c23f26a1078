"""The OAuth providers that ``--auth`` can ask, and what each needs in the environment."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CLIENT", "PROVIDERS", "REDIRECT_VARIABLE", "missing", "settings_help"]

CLIENT = ("PANEL_OAUTH_KEY", "PANEL_OAUTH_SECRET")
REDIRECT_VARIABLE = "PANEL_OAUTH_REDIRECT_URI"

PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "auth0": ("PANEL_OAUTH_EXTRA_PARAMS",),
    "azure": ("AAD_TENANT_ID",),
    "azurev2": ("AAD_TENANT_ID",),
    "bitbucket": (),
    "generic": ("PANEL_OAUTH_AUTHORIZE_URL", "PANEL_OAUTH_TOKEN_URL", "PANEL_OAUTH_USER_URL"),
    "github": (),
    "gitlab": (),
    "google": (),
    "okta": ("PANEL_OAUTH_EXTRA_PARAMS",),
}
"""What each needs beside `CLIENT`. Without its tenant Azure would let anybody's tenant say who its people are."""


def missing(provider: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Variables that a provider needs and the environment does not hold."""
    return tuple(name for name in (*CLIENT, *PROVIDERS[provider]) if not environment.get(name))


def settings_help() -> str:
    """The variables in words, one line for each provider that needs some of its own, as click shows them."""
    own = [f"  {name:<8} {' '.join(needed)}" for name, needed in PROVIDERS.items() if needed]
    lines = [
        f"Every OAuth provider needs {' and '.join(CLIENT)} in the environment, and the",
        "explorer's address with the path /login as the one to which it sends people back. Beside that:",
        *own,
    ]
    return "\b\n" + "\n".join(lines)
