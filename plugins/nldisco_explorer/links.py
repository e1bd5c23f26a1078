"""Deep links: a place as the query of a URL, and back, with a complaint for every value that cannot be used."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import count, groupby
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from nldisco_core.errors import unknown_name
from nldisco_core.selection import Selection
from nldisco_explorer.live import HOME, PAGES, Place
from nldisco_explorer.presets import PRESETS
from nldisco_explorer.ranking import with_best
from nldisco_explorer.readings import ALL_SPLITS, Readings
from nldisco_explorer.sides import Side, name_of, named_side

if TYPE_CHECKING:
    from nldisco_core.runs import Run

__all__ = ["comparable", "place_in", "place_of", "query_of", "start_place"]

T = TypeVar("T")

HALVES = {1: "p", -1: "m"}
"""How a link writes the half of a signed code."""

TABLE = "table"
"""The name that settings of the ranked tables go by, as those of a tile go by its own."""

SEARCH, SUPPORTED, PRESET, SORT = (f"{TABLE}.{name}" for name in ("search", "supported", "preset", "sort"))
TABLE_SETTINGS: dict[str, Collection[str]] = {SEARCH: (), SUPPORTED: ("1",), PRESET: tuple(PRESETS), SORT: ()}
"""What all ranked tables of a session share, and what it may be where not everything goes."""

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
        "pinned": _pins(selection.pinned) or None,
        "lasso": _spans(selection.lasso or ()) or None,
        "trials": _spans(selection.trial_filter or ()) or None,
        "session": selection.session,
        "window": None if selection.window_s is None else ",".join(repr(float(bound)) for bound in selection.window_s),
        "against": selection.against,
        **dict(selection.view),
    }
    return "?" + urlencode({name: value for name, value in fields.items() if value is not None}, safe=",")


def _pins(pinned: Iterable[tuple[int, int]]) -> str:
    """Latents in their order; halves of a signed code as ``3p`` and ``3m``."""
    pins = list(pinned)
    halves = any(sign for _, sign in pins)
    return ",".join(f"{latent}{HALVES[sign]}" for latent, sign in pins) if halves else _spans(each for each, _ in pins)


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
    return Place(selection=with_best(reads, start))


def place_in(reads: Readings, place: Place) -> Place:
    """Where a session goes that turns to another run: its page, and of its choice what that run has too."""
    start, old = start_place(reads).selection, place.selection
    mapper = old.mapper if old.mapper in reads.mappers else start.mapper
    known = old.variable in reads.mapped_variables(mapper)
    found = replace(
        start,
        mapper=mapper,
        variable=old.variable if known else start.variable,
        split=old.split if reads.split_mask(old.split).any() else start.split,
        condition=old.condition if known and old.condition in reads.conditions("model", mapper, old.variable) else None,
    )
    return Place(selection=start if found == start else with_best(reads, found), page=place.page)


def place_of(
    query: str,
    reads: Readings,
    *,
    pages: Collection[str] = tuple(PAGES),
    runs: Mapping[str, Run] = MappingProxyType({}),
    tiles: Collection[str] = (TABLE,),
    instead: Selection | None = None,
) -> tuple[Place, list[str]]:
    """The place a query names and what was wrong with it; a bad value leaves its default.

    Parameters
    ----------
    query : as the browser gives it, with or without its question mark
    reads : the run that the query's own ``run`` was resolved to
    pages : names of the pages there are
    runs : runs that can be compared with
    tiles : names of the tiles there are, whose settings a link may hold
    instead : what stands in for bad values and for what is left out; None for where a session starts
    """
    given = _Given(dict(parse_qsl(query.removeprefix("?"), keep_blank_values=True)))
    start = instead or start_place(reads).selection
    model = given.choice("model", "model of this run", reads.models, "model")
    mapper = given.choice("mapper", "mapper", reads.mappers, start.mapper)
    variable = given.choice("variable", "variable", reads.mapped_variables(mapper), start.variable)
    space = reads.space(model)
    n_latents, instance = space.n_latents, given.whole("instance", space.n_instances, start.instance)
    sign = given.sign(space.code_kind, start.sign)
    session = given.choice("session", "session", [each.session_id for each in reads.run.counts.sessions], None)
    chosen = replace(
        start,
        model=model,
        instance=instance,
        latent=given.whole("latent", n_latents, (start.latent or 0) % n_latents),
        sign=sign,
        variable=variable,
        split=given.choice("split", "split", ALL_SPLITS, start.split),
        mapper=mapper,
        condition=given.choice("condition", "value", reads.conditions(model, mapper, variable), None),
        align=given.choice("align", "event", reads.trials.events, None),
        by=given.choice("by", "grouping of trials", reads.groupings, None),
        pinned=given.pins(n_latents, sign),
        lasso=given.numbers("lasso", n_latents),
        trial_filter=given.numbers("trials", len(reads.trials.frame)),
        session=session,
        window_s=given.window(reads, session),
        against=given.against(Side(reads, model, instance), runs),
        view=given.settings(tiles),
    )
    page = given.choice("page", "page", pages, HOME)
    return Place(selection=chosen, page=page), [*given.complaints, *given.unknown()]


def comparable(reads: Readings, model: str, instance: int, runs: Collection[str]) -> list[str]:
    """What an instance of a model may stand beside: other runs, other models of its run, other instances of its own."""
    models = [f"model:{name}" for name in reads.models if name != model]
    instances = [f"instance:{i}" for i in range(reads.space(model).n_instances) if i != instance]
    own = reads.run.name, name_of(Side(reads, model, instance))
    return [*(name for name in runs if name not in own), *models, *instances]


class _Given:
    """The values of a query, read one by one; complaints gather."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.complaints: list[str] = []

    def unknown(self) -> list[str]:
        """A complaint for every name that no link has."""
        unread = [name for name in self._values if name not in FIELDS and "." not in name]
        return [f"{unknown_name('part of a link', name, FIELDS)}." for name in unread]

    def settings(self, tiles: Collection[str]) -> tuple[tuple[str, str], ...]:
        """What is set on single tiles; a tile says by itself what it does not have."""
        given = sorted(item for item in self._values.items() if "." in item[0])
        owners = {name: name.partition(".")[0] for name, _ in given}
        self.complaints += [f"{unknown_name('tile', each, tiles)}." for each in owners.values() if each not in tiles]
        return tuple(
            item for item in given if owners[item[0]] in tiles and (owners[item[0]] != TABLE or self._of_table(*item))
        )

    def _of_table(self, name: str, value: str) -> bool:
        """Whether the ranked table can be set so."""
        known = TABLE_SETTINGS.get(name)
        if known is None:
            self.complaints.append(f"{unknown_name('setting of the table', name, TABLE_SETTINGS)}.")
        elif known and value not in known:
            self.complaints.append(f"{unknown_name(name, value, known)}.")
        else:
            return True
        return False

    def against(self, one: Side, runs: Mapping[str, Run]) -> str | None:
        """The name of a side that can stand beside the selected one."""
        value = self._values.get("against")
        if value is None or named_side(value, one, runs) is not None:
            return value
        known = ["RUN/MODEL/INSTANCE", *comparable(one.reads, one.model, one.instance, runs)]
        self.complaints.append(f"{unknown_name('model to compare with', value, known)}.")
        return None

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

    def pins(self, n: int, sign: int) -> tuple[tuple[int, int], ...]:
        """Latents from 0 to n - 1 with a half each, the one in view where a bare number names none."""
        expected = f"numbers from 0 to {n - 1}, as 3,8-12" + (", or halves, as 3p,3m" if sign else "")
        return self._read("pinned", lambda text: _pinned(text, n, sign), expected, ())

    def window(self, reads: Readings, session: str | None) -> tuple[float, float] | None:
        """Start and stop (s), a bin apart at least and not outside the session, or outside every one."""
        data = reads.run.counts
        parts = zip(data.sessions, data.row_offsets, data.row_offsets[1:], strict=False)
        reach = [
            (float(reads.start_s[first]), float(reads.start_s[stop - 1]) + data.bin_s)
            for each, first, stop in parts
            if session in (None, each.session_id) and stop > first
        ]
        low, high = min(each[0] for each in reach), max(each[1] for each in reach)
        expected = f"two times in seconds, as 12.5,40, {data.bin_s:g} s apart or more and between {low:g} and {high:g}"
        return self._read("window", lambda text: _window(text, reach, data.bin_s), expected, None)

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


def _pinned(text: str, n: int, sign: int) -> tuple[tuple[int, int], ...]:
    found: dict[tuple[int, int], None] = {}
    for part in text.split(",") if text else ():
        half = next((each for each, letter in HALVES.items() if sign and part.endswith(letter)), 0)
        found |= dict.fromkeys((each, half or sign) for each in _numbers(part[:-1] if half else part, n))
    return tuple(found)


def _window(text: str, reach: Collection[tuple[float, float]], bin_s: float) -> tuple[float, float]:
    start_s, stop_s = map(float, text.split(","))
    if not (math.isfinite(start_s) and math.isfinite(stop_s) and stop_s - start_s > bin_s * (1 - 1e-6)):
        raise ValueError(text)
    if not any(start_s < high and stop_s > low for low, high in reach):
        raise ValueError(text)
    return start_s, stop_s
