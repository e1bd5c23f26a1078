"""The tiles about decoding draw what the mapper wrote, and say why there is nothing where it wrote nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nldisco_decoding.config import DecodingConfig
from nldisco_decoding.mapper import Decoding
from nldisco_explorer.drawing.payload import unpacked
from nldisco_explorer.plugin import nldisco_views
from nldisco_explorer.views.decoding import DecodingByNumber, DecodingOfLatents
from tests.explorer.conftest import write_run

from nldisco_core.conformance import check_view
from nldisco_core.files import write_mapping
from nldisco_core.plugins import registry
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

