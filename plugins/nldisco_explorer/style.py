"""Colours of the two themes and the style sheets of what is not a figure."""

from __future__ import annotations

from typing import Any

__all__ = [
    "BESIDE_CSS",
    "CARD_CSS",
    "CHIP_SX",
    "FLOW_CSS",
    "FOLDING_CSS",
    "KEYS_SX",
    "NAV_SX",
    "PAGE_SX",
    "PICKER_CSS",
    "PICKER_SX",
    "QUIET_SX",
    "TABLE_CSS",
    "THEMES",
    "TILE_CSS",
]

_SPOKEN: dict[str, Any] = {
    "MuiTypography": {"defaultProps": {"variantMapping": {"h3": "h1", "h5": "div"}}},
    "MuiLinearProgress": {"defaultProps": {"aria-label": "loading"}},
}
"""The page's title is its first heading, what only keeps a place is none, and the bar of progress has a name."""

THEMES: dict[str, Any] = {
    "light": {
        "palette": {
            "primary": {"main": "#1a6aa5"},
            "background": {"default": "#f4f6f8", "paper": "#ffffff"},
            "text": {"primary": "#1b232c", "secondary": "#52606d"},
        },
        "shape": {"borderRadius": 8},
        "components": {
            **_SPOKEN,
            "MuiAppBar": {"styleOverrides": {"root": {"backgroundColor": "#16486f", "color": "#ffffff"}}},
        },
    },
    "dark": {
        "palette": {
            "primary": {"main": "#62b0e8"},
            "background": {"default": "#101418", "paper": "#181d23"},
            "text": {"primary": "#e6eaee", "secondary": "#a5b0bb"},
        },
        "shape": {"borderRadius": 8},
        "components": {
            **_SPOKEN,
            "MuiAppBar": {"styleOverrides": {"root": {"backgroundColor": "#14293a", "color": "#ffffff"}}},
        },
    },
}

_WORDS = "color: var(--mui-palette-text-primary, var(--panel-on-surface-color));"
_MUTED = "color: var(--mui-palette-text-secondary, var(--panel-on-surface-color));"

_EDGE = "rgba(128, 138, 150, 0.32)"

TILE_CSS = f"""
:host {{
  background: var(--panel-surface-color); border: 1px solid {_EDGE}; border-radius: 10px; padding: 12px 14px;
  box-sizing: border-box; height: auto !important; max-height: none !important;
}}
:host(.narrow) {{ flex: 1 1 395px !important; min-width: 0 !important; }}
:host(.wide) {{ flex: 1 1 100% !important; min-width: 0 !important; }}
"""

FLOW_CSS = """
:host {
  display: flex !important; flex-flow: row wrap !important; gap: 12px !important; align-items: stretch !important;
}
.scroll-button { display: none !important; }
"""

UPRIGHT = "@media (max-width: 900px)"
"""Of a tablet held upright, where a table beside plots would leave them half of the screen."""

BESIDE_CSS = f"{UPRIGHT} {{ :host {{ flex-direction: column !important; }} }}"

FOLDING_CSS = f"""
.unfold {{ display: none !important; }}
{UPRIGHT} {{
  .unfold {{ display: block !important; }}
  :host(.folding) {{
    position: static !important; flex: 0 0 auto !important; width: auto !important; max-width: none !important;
    align-self: stretch !important; margin: 0 0 12px !important;
  }}
  :host(.folding:not(.open)) {{ max-height: 168px !important; overflow: hidden !important; }}
}}
"""

CARD_CSS = f"""
:host {{ margin: 0; font-family: var(--bokeh-base-font); }}
section, p, li, table {{ {_WORDS} font-size: 13.5px; line-height: 1.5; }}
h2 {{
  margin: 0 0 10px; font-size: 20px; font-weight: 600; {_WORDS}
  display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: baseline;
}}
h3 {{ margin: 0 0 8px; font-size: 15px; font-weight: 600; {_WORDS} }}
h2 small {{ font-size: 13.5px; font-weight: 400; {_MUTED} }}
p {{ margin: 0 0 6px; }}
ul {{ margin: 0; padding-left: 18px; }}
dl {{ margin: 0; display: flex; flex-wrap: wrap; gap: 10px 30px; }}
dl.rows {{ display: grid; grid-template-columns: max-content 1fr; gap: 5px 18px; }}
dl.rows div {{ display: contents; }}
dt {{ {_MUTED} font-size: 12.5px; }}
dd {{ margin: 0; {_WORDS} font-size: 14px; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }}
.warning {{
  font-size: 12.5px; font-weight: 500; padding: 2px 9px; border-radius: 10px; background: #a34a08; color: #ffffff;
}}
.error {{ {_WORDS} border-left: 4px solid #c0392b; padding: 4px 0 4px 12px; }}
.absent {{ {_MUTED} }}
details {{ margin-top: 8px; }}
summary {{ {_MUTED} font-size: 13px; cursor: pointer; }}
.scroll {{ overflow-x: auto; margin-bottom: 14px; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; padding: 5px 12px 5px 0; border-bottom: 1px solid {_EDGE}; white-space: nowrap; }}
th {{ {_MUTED} font-weight: 500; font-size: 12.5px; }}
th:first-child, td:first-child {{ text-align: left; }}
tr.own td {{ font-weight: 600; }}
.verdict td, .verdict th {{ text-align: left; vertical-align: top; white-space: normal; padding: 4px 14px 4px 0; }}
.verdict tbody th {{ {_WORDS} font-weight: 600; font-size: 13.5px; }}
.verdict tbody tr:not(:last-child) > * {{ border-bottom: none; }}
.verdict td:last-child {{ width: 72%; }}
.verdict small {{ {_MUTED} font-size: inherit; }}
.unseen {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }}
.mark {{
  display: inline-block; white-space: nowrap; font-size: 12.5px; line-height: 1.35; padding: 1px 9px 1px 7px;
  border-radius: 10px; border: 1px solid; {_WORDS}
}}
.mark > span {{ display: inline-block; width: 1em; text-align: center; }}
.mark.above {{ background: #14684b; border-color: #14684b; color: #ffffff; }}
.mark.equalled {{ background: #8a4b08; border-color: #8a4b08; color: #ffffff; }}
.mark.unshown {{ border-style: dashed; }}
.counted span span {{ margin-right: 3px; }}
.counted > span {{ margin-right: 20px; white-space: nowrap; }}
"""

TABLE_CSS = """
.tabulator {
  font-size: 13px; border: none !important; background: transparent !important; font-variant-numeric: tabular-nums;
}
.tabulator .tabulator-header .tabulator-col[aria-sort="none"] .tabulator-col-sorter { display: none; }
.tabulator .tabulator-header .tabulator-col[aria-sort="none"] .tabulator-col-title { padding-right: 0 !important; }
.tabulator .tabulator-header { font-size: 12.5px; }
.tabulator .tabulator-header .tabulator-col .tabulator-col-content { padding: 5px 6px; }
.tabulator .tabulator-header .tabulator-col .tabulator-col-content .tabulator-col-title {
  font-weight: 500; padding-right: 14px; overflow: visible; text-overflow: clip;
}
.tabulator .tabulator-row .tabulator-cell {
  padding: 4px 6px !important; min-height: 0 !important; height: 27px !important; font-size: 13px; cursor: pointer;
}
.tabulator .tabulator-row.tabulator-selected .tabulator-cell {
  color: var(--mui-palette-primary-contrastText) !important;
}
.tabulator .tabulator-frozen { border-right: none !important; }
.tabulator .tabulator-row { height: auto !important; min-height: 28px !important; }
.tabulator .tabulator-row .tabulator-cell:is([tabulator-field="note"], [tabulator-field="flags"]) {
  height: auto !important; white-space: normal !important; overflow-wrap: anywhere; line-height: 19px;
}
"""

PICKER_SX: dict[str, Any] = {
    "& .MuiInputBase-root, & .MuiInputLabel-root, & .MuiInputLabel-root.Mui-focused, & .MuiSvgIcon-root": {
        "color": "#ffffff"
    },
    "& .MuiOutlinedInput-notchedOutline": {"borderColor": "rgba(255, 255, 255, 0.45)"},
}

# No `sx` reaches the label of a select; its width is what the other parts of the header leave.
PICKER_CSS = """
label.MuiInputLabel-root { color: #ffffff !important; }
:host { width: max(130px, min(420px, 100vw - 1010px)) !important; }
"""

WHOLE_HEIGHT = {"flex-shrink": "0", "height": "max-content", "min-height": "max-content"}
"""Of what scrolls: as high as what it holds, so that the table beside it stays in sight."""

CHIP_SX: dict[str, Any] = {"padding": "2px 8px", "minWidth": 0, "fontSize": "12px", "whiteSpace": "nowrap"}

QUIET_SX: dict[str, Any] = {"color": "#ffffff", "borderColor": "rgba(255, 255, 255, 0.45)", "whiteSpace": "nowrap"}

NARROW = "@media (max-width: 1180px)"
"""Of a tablet, whose header has no room for a title and for a list of keys that it has not."""

KEYS_SX: dict[str, Any] = {**QUIET_SX, NARROW: {"display": "none"}}

PAGE_SX: dict[str, Any] = {NARROW: {"& .MuiToolbar-root .title": {"display": "none"}}}

NAV_SX: dict[str, Any] = {
    "& .MuiToggleButton-root": {"color": "#ffffff", "borderColor": "rgba(255, 255, 255, 0.45)", "padding": "5px 16px"},
    "& .MuiToggleButton-root.Mui-selected": {"color": "#12405f", "backgroundColor": "#ffffff"},
    "& .MuiToggleButton-root.Mui-selected:hover": {"backgroundColor": "#eef3f7"},
    "& .MuiButton-root": {"color": "#ffffff", "borderColor": "rgba(255, 255, 255, 0.45)"},
    NARROW: {"& .MuiToggleButton-root": {"padding": "5px 7px", "fontSize": "12px"}},
}
