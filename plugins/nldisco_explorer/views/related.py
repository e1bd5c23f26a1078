"""Tiles of related latents: the nearest by decoder weights and by co-activation, and the family in a nested model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.drawing.background import beside
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel, around
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.evidence import latent_name
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.related import absorbed_by, family_of, is_ready, neighbours_of
from nldisco_explorer.wording import number, share

__all__ = ["Family", "NearestLatents"]

BARS, TREE = 210, 250
ROUNDING = 1e-5
"""Cosines of weights kept as float32 that are smaller than this are zero."""

MOST_RELATIVES, LEAST_SLOTS = 7, 6


class _RelatedTile(CanvasTile):
    """A click on a latent selects it; of signed codes its positive half."""

    def __init__(self, reads: Readings) -> None:
        self._reads = reads
        self._sign = 0
        self._selection: Selection | None = None
        super().__init__()

    def when_ready(self, selection: Selection, table: str, draw: Callable[[Selection], None]) -> None:
        """Draw a selection from a table, at once where it is at hand, else when it has been made; only the newest."""
        self._selection = selection

        def ready(_: object) -> None:
            if selection == self._selection:
                draw(selection)

        if is_ready(self._reads, selection, table):
            ready(None)
            return
        self.say("Relations between latents are being computed …")
        make = family_of if table == "families" else neighbours_of
        beside(lambda: make(self._reads, selection), ready, lambda why: self.say(f"This could not be computed: {why}."))

    def done(self, what: Mapping[str, Any]) -> None:
        """Select the latent that was clicked."""
        if what.get("kind") == "click" and what.get("item") is not None:
            self.select(latent=int(what["item"]), sign=self._sign)


class NearestLatents:
    """View: the latents nearest to the selected one."""

    title: ClassVar[str] = "Nearest latents"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _NearestTile(readings(run))


class _NearestTile(_RelatedTile):
    def show(self, selection: Selection) -> None:
        """Draw a bar for each near latent, a panel for each measure."""
        self.when_ready(selection, "neighbours", self._draw_bars)

    def _draw_bars(self, selection: Selection) -> None:
        self._sign = 1 if self._reads.space(selection.model).code_kind == "signed" else 0
        found = neighbours_of(self._reads, selection)
        panels, said = [], []
        found, orthogonal = _near(found, is_signed=self._sign == 1)
        if orthogonal:
            said.append("Its decoder weights are orthogonal to those of all other latents.")
        for column, (measure, rows) in enumerate(found.groupby("measure", sort=False)):
            panels.append(_bars(str(measure), rows, column))
            best = rows.iloc[0]
            said.append(f"By {measure}: latent {best['neighbour']} ({number(float(best['similarity']), 2)}) first.")
        if not panels:
            self.say(
                f"{latent_name(selection)} has no neighbours:",
                "none points the same way, or is active with it more than by chance.",
                *said,
            )
            return
        if "co-activation phi" not in set(found["measure"]) and len(panels) == 1:
            said.append("None is active together with it more than by chance.")
        said.append("Click a bar to go there.")
        self.draw(
            Drawing(
                panels=tuple(panels), summary=" ".join(said), rows=(BARS,), columns=(1,) * len(panels), least_column=180
            )
        )


def _near(found: pd.DataFrame, *, is_signed: bool) -> tuple[pd.DataFrame, bool]:
    """What is nearer than rounding, and whether the decoder weights are orthogonal to all others.

    Of signed codes the size of a cosine counts, of others a positive one; all correlations of activations are kept.
    """
    worth = found["similarity"].abs() if is_signed else found["similarity"]
    by_weight = found["measure"] == "decoder cosine"
    orthogonal = is_signed and bool(by_weight.any()) and bool((worth[by_weight] <= ROUNDING).all())
    return found[(worth > ROUNDING) | (found["measure"] == "activation correlation")], orthogonal


def _bars(measure: str, rows: pd.DataFrame, column: int) -> Panel:
    latents, values = rows["neighbour"].to_numpy(), rows["similarity"].to_numpy(np.float64)
    at = np.arange(len(rows))
    low, high = around(values, include=0.0)
    bars = Layer(
        "bars",
        {"left": at - 0.38, "right": at + 0.38, "top": values},
        colour="activation" if column == 0 else 2,
        name=measure,
        items=latents.tolist(),
        labels=[f"latent {latent}: {measure}" for latent in latents],
    )
    return Panel(
        id=measure,
        title=measure,
        column=column,
        x=Axis(
            low=-0.6,
            high=max(len(rows), LEAST_SLOTS) - 0.4,
            label="latent",
            ticks=tuple((float(i), str(n)) for i, n in enumerate(latents)),
        ),
        y=Axis(low=low, high=high),
        layers=(bars,),
        margins=(26, 10, 42, 40),
        click=True,
    )


class Family:
    """View: parents and children of a latent of a nested model."""

    title: ClassVar[str] = "Matryoshka family"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _FamilyTile(readings(run))


class _FamilyTile(_RelatedTile):
    def show(self, selection: Selection) -> None:
        """Draw parents above, the latent in the middle, children below."""
        n_levels = self._reads.space(selection.model).n_levels
        self.applies = n_levels > 1
        if not self.applies:
            self.say("This model has no levels, so that its latents have no families.")
            return
        self.when_ready(selection, "families", self._draw_tree)

    def _draw_tree(self, selection: Selection) -> None:
        n_levels = self._reads.space(selection.model).n_levels
        parents, children = family_of(self._reads, selection)
        level = int(self._reads.space(selection.model).level_of_latent[selection.latent or 0]) + 1
        said = [f"{latent_name(selection)} is of level {level} of {n_levels}."]
        if not len(parents) and not len(children):
            self.say(
                *said, "No latent of another level is active inside its active bins, or it inside theirs, often enough."
            )
            return
        for what, rows in (("parent", parents), ("child", children)):
            if len(rows) > MOST_RELATIVES:
                said.append(f"{MOST_RELATIVES} of {len(rows)} {'parents' if what == 'parent' else 'children'} drawn.")
        said.append("Beside each: share of the lower latent's active bins in which the upper one is active.")
        said += [
            f"Where it misses {row.condition}, latent {row.child} is active in {share(float(row.absorption))} "
            f"of the bins ({share(float(row.chance))} by chance)."
            for row in absorbed_by(self._reads, selection).head(2).itertuples()
        ]
        said.append("Click a latent to go there.")
        drawing = Drawing(panels=(_tree(selection, parents, children),), summary=" ".join(said), rows=(TREE,))
        self.draw(drawing)


def _tree(selection: Selection, parents: pd.DataFrame, children: pd.DataFrame) -> Panel:
    layers: list[Layer] = []
    for rows, which, y in ((parents, "parent", 2.0), (children, "child", 0.0)):
        drawn = rows.head(MOST_RELATIVES)
        x = (np.arange(len(drawn)) - (len(drawn) - 1) / 2) * 2 / max(len(drawn), 3)
        for each in x:
            layers.insert(
                0,
                Layer(
                    "line",
                    {"x": sorted([0.0, each]), "y": [1.0, y] if each >= 0 else [y, 1.0]},
                    colour="neutral",
                    width=1.2,
                ),
            )
        names = drawn[which].astype(int).tolist()
        layers.append(
            Layer(
                "points",
                {"x": x, "y": np.full(len(x), y)},
                size=15,
                colour="activation",
                items=names,
                labels=[_told(row, which) for row in drawn.to_dict("records")],
            )
        )
        layers.append(
            Layer("words", text=[str(name) for name in names], x=x.tolist(), y=[y] * len(x), colour="ground", size=11)
        )
        beside = [y + (0.34 if y > 1 else -0.34)] * len(x)
        layers.append(Layer("words", text=[share(value) for value in drawn["containment"]], x=x.tolist(), y=beside))
    layers.append(Layer("points", {"x": [0.0], "y": [1.0]}, size=18, colour="behaviour"))
    layers.append(Layer("words", text=[str(selection.latent)], x=[0.0], y=[1.0], colour="ground", size=12))
    return Panel(
        id="family",
        x=Axis(low=-1.15, high=1.15, shown=False),
        y=Axis(low=-0.5, high=2.5, shown=False),
        layers=tuple(layers),
        margins=(4, 8, 4, 8),
        grid=False,
        frame=False,
        click=True,
    )


def _told(row: dict[Any, Any], which: str) -> str:
    return (
        f"latent {row[which]}, level {row[f'{which}_level'] + 1}\n"
        f"{row['n_both']} of the child's {row['n_child']} active bins\nchance {share(float(row['chance']))}"
    )
