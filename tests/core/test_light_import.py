"""Listing and help import nothing slow; asserted on `sys.modules` of a fresh process, not on seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "pandas", "scipy", "sklearn", "pyarrow", "pynwb", "panel", "numba")

COMMAND_LINE = """
from nldisco_core.cli import main
try:
    main({arguments!r})
except SystemExit as end:
    assert end.code in (0, None), end.code
"""

CASES = {
    "import": "import nldisco_core",
    "discover": "import nldisco_core.plugins; assert nldisco_core.plugins.discover().providers()",
    "help": COMMAND_LINE.format(arguments=["--help"]),
    "plugins": COMMAND_LINE.format(arguments=["plugins"]),
    "plugins as JSON": COMMAND_LINE.format(arguments=["plugins", "--json"]),
}


def heavy_after(code: str) -> list[str]:
    report = f"{code}\nimport sys\nprint('HEAVY', *[name for name in {HEAVY!r} if name in sys.modules])"
    outcome = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.strip().splitlines()[-1].split()[1:]


@pytest.mark.parametrize("case", CASES)
def test_nothing_slow_is_imported(case: str) -> None:
    assert heavy_after(CASES[case]) == []


def test_the_probe_sees_what_is_imported() -> None:
    assert {"numpy", "scipy"} <= set(heavy_after("import nldisco_core.latents"))
