"""Deep links: a place as the query of a URL, and back, with a complaint for every value that cannot be used."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import count, groupby
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from nldisco_core.errors import unknown_name
from nldisco_core.selection import Selection
from nldisco_explorer.live import HOME, PAGES, Place
from nldisco_explorer.ranking import ranked
from nldisco_explorer.readings import ALL_SPLITS, Readings

__all__ = ["place_of", "query_of", "start_place"]

T = TypeVar("T")

FIELDS = (
    *("run", "page", "model", "instance", "latent", "sign", "variable", "split", "mapper", "condition"),
    *("align", "by", "pinned", "lasso", "trials", "session", "window", "against"),
)


def query_of(place: Place) -> str:
    """The query of a place, with a leading question mark; what is at its default is left out."""
    selection = place.selection
    fields = {
        "run": selection.run,
        "page": place.page if place.page != HOME else None,
        "model": selection.model if selection.model != "model" else None,
        "instance": selection.instance,
        "latent": selection.latent,
        "sign": selection.sign or None,
        "variable": selection.variable,
        "split": selection.split,
        "mapper": selection.mapper,
        "condition": selection.condition,
        "align": selection.align,
        "by": selection.by,
        "pinned": _spans(selection.pinned) or None,
        "lasso": _spans(selection.lasso or ()) or None,
        "trials": _spans(selection.trial_filter or ()) or None,
        "session": selection.session,
        "window": None if selection.window_s is None else ",".join(repr(float(bound)) for bound in selection.window_s),
        "against": selection.against,
    }
    return "?" + urlencode({name: value for name, value in fields.items() if value is not None}, safe=",")


def _spans(numbers: Iterable[int]) -> str:
    """Numbers in their order, stretches of consecutive ones as ``first-last``."""
    steps = count()
    stretches = (list(group) for _, group in groupby(numbers, lambda number: number - next(steps)))
    return ",".join(f"{each[0]}-{each[-1]}" if len(each) > 1 else str(each[0]) for each in stretches)


@lru_cache(maxsize=16)
def start_place(reads: Readings) -> Place:
    """Where a session starts without a link: the best supported latent of the first mapping."""
    mapper = next(iter(reads.mappers), None)
    variable = next(iter(reads.variables()), None)
    sign = 1 if reads.space("model").code_kind == "signed" else 0
    start = Selection(run=reads.run.name, latent=0, sign=sign, variable=variable, split="test", mapper=mapper)
    if not reads.split_mask("test").any():
        start = replace(start, split="all")
    if mapper is None:
        return Place(selection=start)
    table = reads.mapping("model", mapper).table
    table = table[table["latent"].notna()]
    splits = [name for name in (start.split, *reversed(ALL_SPLITS)) if (table["split"] == name).any()]
    start = replace(start, variable=str(table["variable"].iloc[0]), split=splits[0] if splits else start.split)
    rows = ranked(reads, start)
    if len(rows):
        start = replace(start, latent=int(rows["latent"].iloc[0]), sign=int(rows["sign"].iloc[0]))
    return Place(selection=start)


def place_of(
    query: str,
    reads: Readings,
    *,
    pages: Collection[str] = tuple(PAGES),
    runs: Collection[str] = (),
    instead: Selection | None = None,
) -> tuple[Place, list[str]]:
    """The place a query names and what was wrong with it; a bad value leaves its default.

    Parameters
    ----------
    query : as the browser gives it, with or without its question mark
    reads : the run that the query's own ``run`` was resolved to
    pages : names of the pages there are
    runs : names of the runs that can be compared with
    instead : what stands in for bad values and for what is left out; None for where a session starts
    """
    given = _Given(dict(parse_qsl(query.removeprefix("?"), keep_blank_values=True)))
    start = instead or start_place(reads).selection
    model = given.choice("model", "model of this run", reads.models, "model")
    mapper = given.choice("mapper", "mapper", reads.mappers, start.mapper)
    variable = given.choice("variable", "variable", reads.mapped_variables(mapper), start.variable)
    space = reads.space(model)
    n_latents = space.n_latents
    chosen = replace(
        start,
        model=model,
        instance=given.whole("instance", space.n_instances, start.instance),
        latent=given.whole("latent", n_latents, (start.latent or 0) % n_latents),
        sign=given.sign(space.code_kind, start.sign),
        variable=variable,
        split=given.choice("split", "split", ALL_SPLITS, start.split),
        mapper=mapper,
        condition=given.choice("condition", "value", reads.conditions(model, mapper, variable), None),
        align=given.choice("align", "event", reads.trials.events, None),
        by=given.choice("by", "grouping of trials", reads.groupings, None),
        pinned=given.numbers("pinned", n_latents) or (),
        lasso=given.numbers("lasso", n_latents),
        trial_filter=given.numbers("trials", len(reads.trials.frame)),
        session=given.choice("session", "session", [each.session_id for each in reads.run.counts.sessions], None),
        window_s=given.window("window"),
        against=given.choice("against", "run to compare with", _comparable(reads, model, runs), None),
    )
    page = given.choice("page", "page", pages, HOME)
    return Place(selection=chosen, page=page), [*given.complaints, *given.unknown()]


def _comparable(reads: Readings, model: str, runs: Collection[str]) -> list[str]:
    """What a model may stand beside: other runs, models of its own run and instances of its own."""
    instances = range(reads.space(model).n_instances)
    others = [name for name in runs if name != reads.run.name]
    return [*others, *(f"model:{name}" for name in reads.models), *(f"instance:{i}" for i in instances)]


class _Given:
    """The values of a query, read one by one; complaints gather."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.complaints: list[str] = []

    def unknown(self) -> list[str]:
        """A complaint for every name that no link has."""
        return [f"{unknown_name('part of a link', name, FIELDS)}." for name in self._values if name not in FIELDS]

    def choice(self, name: str, what: str, known: Collection[str], default: Any) -> Any:
        """One of the known names."""
        value = self._values.get(name)
        if value is None or value in known:
            return default if value is None else value
        self.complaints.append(f"{unknown_name(what, value, known)}.")
        return default

    def whole(self, name: str, n: int, default: int) -> int:
        """A number from 0 to n - 1."""
        return self._read(name, lambda text: _whole(text, n), f"a whole number from 0 to {n - 1}", min(default, n - 1))

    def numbers(self, name: str, n: int) -> tuple[int, ...] | None:
        """Numbers from 0 to n - 1, each once; None where there are none."""
        return self._read(name, lambda text: _numbers(text, n) or None, f"numbers from 0 to {n - 1}, as 3,8-12", None)

    def window(self, name: str) -> tuple[float, float] | None:
        """Start and stop (s)."""
        return self._read(name, _window, "two times in seconds, as 12.5,40", None)

    def sign(self, code_kind: str, default: int) -> int:
        """A half of a signed code, 0 for any other."""
        signs = {"1": 1, "-1": -1} if code_kind == "signed" else {"0": 0}
        default = default if default in signs.values() else next(iter(signs.values()))
        what = "a half (1 or -1) of a signed code" if len(signs) > 1 else f"the sign of a {code_kind} code, 0"
        return self._read("sign", signs.__getitem__, what, default)

    def _read(self, name: str, read: Callable[[str], T], expected: str, default: T) -> T:
        text = self._values.get(name)
        if text is None:
            return default
        try:
            return read(text)
        except (ValueError, KeyError):
            self.complaints.append(f"{name} {text!r} is not {expected}.")
            return default


def _whole(text: str, n: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) < n):
        raise ValueError(text)
    return int(text)


def _numbers(text: str, n: int) -> tuple[int, ...]:
    found: dict[int, None] = {}
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        stretch = range(_whole(first, n), _whole(last or first, n) + 1)
        if not stretch:
            raise ValueError(part)
        found |= dict.fromkeys(stretch)
    return tuple(found)


def _window(text: str) -> tuple[float, float]:
    start_s, stop_s = map(float, text.split(","))
    if not (math.isfinite(start_s) and math.isfinite(stop_s) and start_s < stop_s):
        raise ValueError(text)
    return start_s, stop_s
