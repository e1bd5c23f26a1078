"""The explorer below a cell of a notebook, in a real kernel where one is installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import panel as pn
import pytest
from nldisco_explorer import explore

from nldisco_core.runs import Run

# Bokeh 3.9 calls pandas in a way that pandas 3.1 has deprecated; it is not ours to change.
CELLS = (
    "import warnings; warnings.simplefilter('ignore')\nimport panel as pn; pn.extension('tabulator')",
    "from pathlib import Path\nfrom nldisco_core.runs import Run\nfrom nldisco_explorer import explore\n"
    "explore(Run(Path({folder!r})))",
)


def executed(folder: Path) -> Any:
    """The last cell of a notebook that shows the run, after a kernel has run it."""
    nbformat = pytest.importorskip("nbformat", reason="Jupyter is not installed")
    nbclient = pytest.importorskip("nbclient", reason="Jupyter is not installed")
    pytest.importorskip("ipykernel", reason="no kernel is installed")
    cells = [nbformat.v4.new_code_cell(text.format(folder=str(folder))) for text in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=180, kernel_name="python3").execute()
    return notebook.cells[-1]


@pytest.mark.filterwarnings("ignore")  # Jupyter's own, of many kinds
def test_explorer_is_shown_below_a_cell(written_run: Run) -> None:
    cell = executed(written_run.folder)
    assert [output for output in cell.outputs if output.output_type == "error"] == []
    shown = {kind: text for output in cell.outputs if "data" in output for kind, text in output["data"].items()}
    assert {"text/html", "application/vnd.holoviews_exec.v0+json"} <= set(shown)
    assert "Latent" in shown["text/html"]
    assert "Contributing units" in shown["text/html"]


def test_nothing_but_components_of_panel_and_scripts_that_are_sent_along_is_needed(written_run: Run) -> None:
    """Every model comes from Bokeh, Panel or panel_material_ui, or carries its script itself: no extension of ours."""
    root: Any = explore(written_run).get_root()
    modules = {type(model).__module__.split(".")[0] for model in root.references()}
    assert modules <= {"bokeh", "panel", "panel_material_ui"}
    ours = [model for model in root.references() if getattr(model, "class_name", "") in ("Canvas", "Saver", "Browser")]
    assert len(ours) >= 3
    assert not any(re.search(r"""(from|import)\s*\(?\s*["']""", model.esm) for model in ours)


def test_two_explorers_in_one_notebook_do_not_hear_each_others_menus(written_run: Run) -> None:
    keys = {
        saver.explorer
        for _ in range(2)
        for saver in explore(written_run).select(pn.custom.JSComponent)
        if hasattr(saver, "explorer")
    }
    assert len(keys) == 2
