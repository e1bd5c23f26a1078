"""Colours of the two themes and the style sheets of what is not a figure."""

from __future__ import annotations

from typing import Any

__all__ = ["CARD_CSS", "GRID_CSS", "TABLE_CSS", "THEMES", "TILE_CSS"]

THEMES: dict[str, Any] = {
    "light": {
        "palette": {
            "primary": {"main": "#1a6aa5"},
            "background": {"default": "#f4f6f8", "paper": "#ffffff"},
            "text": {"primary": "#1b232c", "secondary": "#52606d"},
        },
        "shape": {"borderRadius": 8},
    },
    "dark": {
        "palette": {
            "primary": {"main": "#62b0e8"},
            "background": {"default": "#101418", "paper": "#181d23"},
            "text": {"primary": "#e6eaee", "secondary": "#a5b0bb"},
        },
        "shape": {"borderRadius": 8},
    },
}

_WORDS = "color: var(--mui-palette-text-primary, var(--panel-on-surface-color));"
_MUTED = "color: var(--mui-palette-text-secondary, var(--panel-on-surface-color));"

TILE_CSS = """
:host { background: var(--panel-surface-color); border: 1px solid var(--divider-color); border-radius: 10px; padding: 12px 14px 12px; box-sizing: border-box; min-width: 0; }
"""

GRID_CSS = """
:host { display: grid !important; grid-template-columns: repeat(auto-fill, minmax(min(400px, 100%), 1fr)); gap: 12px; align-items: stretch; }
:host > * { margin: 0 !important; width: auto !important; }
"""

CARD_CSS = f"""
:host {{ margin: 0; font-family: var(--bokeh-base-font); }}
section, p, li, table {{ {_WORDS} font-size: 13.5px; line-height: 1.5; }}
h2 {{ margin: 0 0 10px; font-size: 20px; font-weight: 600; {_WORDS} display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: baseline; }}
h3 {{ margin: 0 0 8px; font-size: 15px; font-weight: 600; {_WORDS} }}
h2 small {{ font-size: 13.5px; font-weight: 400; {_MUTED} }}
p {{ margin: 0 0 6px; }}
ul {{ margin: 0; padding-left: 18px; }}
dl {{ margin: 0; display: flex; flex-wrap: wrap; gap: 10px 30px; }}
dl.rows {{ display: grid; grid-template-columns: max-content 1fr; gap: 5px 18px; }}
dl.rows div {{ display: contents; }}
dt {{ {_MUTED} font-size: 12.5px; }}
dd {{ margin: 0; {_WORDS} font-size: 14px; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }}
.warning {{ font-size: 12.5px; font-weight: 500; padding: 2px 9px; border-radius: 10px; background: #a34a08; color: #ffffff; }}
.error {{ {_WORDS} border-left: 4px solid #c0392b; padding: 4px 0 4px 12px; }}
.absent {{ {_MUTED} }}
.verdict {{ border-left: 4px solid #1f8a70; padding-left: 14px; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--divider-color); white-space: nowrap; }}
th {{ {_MUTED} font-weight: 500; font-size: 12.5px; }}
th:first-child, td:first-child {{ text-align: left; }}
tr.own td {{ font-weight: 600; }}
"""

TABLE_CSS = """
.tabulator { font-size: 13px; border: none !important; background: transparent !important; font-variant-numeric: tabular-nums; }
"""
