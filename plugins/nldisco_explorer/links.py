"""Deep links: a place as the query of a URL, and back, with a complaint for every value that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode

from nldisco_core.errors import unknown_name
from nldisco_core.selection import Selection
from nldisco_explorer.live import HOME, PAGES, Place
from nldisco_explorer.ranking import ranked
from nldisco_explorer.readings import ALL_SPLITS, Readings

__all__ = ["place_of", "query_of", "start_place"]


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
        "mapper": place.mapper,
        "condition": place.condition,
    }
    return "?" + urlencode({name: value for name, value in fields.items() if value is not None})


def start_place(reads: Readings) -> Place:
    """Where a session starts without a link: the best supported latent of the first mapping."""
    mapper = next(iter(reads.mappers), None)
    variable = next(iter(reads.variables()), None)
    start = Selection(run=reads.run.name, latent=0, variable=variable, split="test")
    if not reads.split_mask("test").any():
        start = replace(start, split="all")
    if mapper is None:
        return Place(selection=start)
    table = reads.mapping("model", mapper).table
    table = table[table["latent"].notna()]
    splits = [name for name in (start.split, *ALL_SPLITS) if (table["split"] == name).any()]
    start = replace(start, variable=str(table["variable"].iloc[0]), split=splits[0] if splits else start.split)
    place = Place(selection=start, mapper=mapper)
    rows = ranked(reads, place)
    if not len(rows):
        return place
    return replace(place, selection=replace(start, latent=int(rows["latent"].iloc[0]), sign=int(rows["sign"].iloc[0])))


def place_of(query: str, reads: Readings) -> tuple[Place, list[str]]:
    """The place a query names and what was wrong with it; a bad value leaves its default.

    Parameters
    ----------
    query : as the browser gives it, with or without its question mark
    reads : the run that the query's own ``run`` was resolved to
    """
    given = dict(parse_qsl(query.removeprefix("?"), keep_blank_values=True))
    place, complaints = start_place(reads), []

    def choose(name: str, what: str, known: tuple[str, ...], default: str | None) -> str | None:
        value = given.get(name, default)
        if name in given and value not in known:
            complaints.append(f"{unknown_name(what, str(value), known)}.")
            return default
        return value

    selection = place.selection
    page = choose("page", "page", PAGES, HOME) or HOME
    model = choose("model", "model of this run", reads.models, "model") or "model"
    variable = choose("variable", "variable", reads.mapped_variables(place.mapper), selection.variable)
    split = choose("split", "split", ALL_SPLITS, selection.split) or "all"
    mapper = choose("mapper", "mapper", reads.mappers, place.mapper)
    space = reads.space(model)
    instance = _whole_number(
        given, "instance", space.n_instances, selection.instance if model == "model" else 0, complaints
    )
    latent = _whole_number(given, "latent", space.n_latents, (selection.latent or 0) % space.n_latents, complaints)
    signs = (1, -1) if space.code_kind == "signed" else (0,)
    sign = {"1": 1, "-1": -1, "0": 0}.get(given.get("sign", str(signs[0])))
    if sign not in signs:
        complaints.append(f"sign {given['sign']!r} does not fit a {space.code_kind} code.")
        sign = signs[0]
    condition = given.get("condition")
    conditions = reads.conditions(model, mapper, variable)
    if condition is not None and condition not in conditions:
        complaints.append(f"{unknown_name('value', condition, conditions)}.")
        condition = None
    chosen = replace(
        selection, model=model, instance=instance, latent=latent, sign=sign or 0, variable=variable, split=split
    )
    return Place(selection=chosen, page=page, mapper=mapper, condition=condition), complaints


def _whole_number(given: Mapping[str, str], name: str, n: int, default: int, complaints: list[str]) -> int:
    text = given.get(name)
    if text is None:
        return min(default, n - 1)
    if text.isascii() and text.isdigit() and int(text) < n:
        return int(text)
    complaints.append(f"{name} {text!r} is not a whole number from 0 to {n - 1}.")
    return min(default, n - 1)
