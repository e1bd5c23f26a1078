"""The example plugin's classes are the correct implementations that the wrong ones here derive from."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "docs" / "examples" / "nldisco-example-plugin"))
