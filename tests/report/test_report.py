"""The report is one page that asks for nothing, says what its tables say, and finds nothing where nothing is."""

from __future__ import annotations

import html
import json
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from nldisco_report import report_html, write_report
from nldisco_report.markup import number
from nldisco_report.methods import REFERENCES

from nldisco_core.beside_controls import AS_GOOD
from nldisco_core.composition import compose
from nldisco_core.config import RunConfig, parse
from nldisco_core.discoveries import found
from nldisco_core.errors import RunError
from nldisco_core.files import write_mapping
from nldisco_core.ledger import openings
from nldisco_core.preregistration import Preregistration
from nldisco_core.runs import Run
from nldisco_core.summary import Findings, comparison, printable

VOID = {"meta", "link", "br", "img", "path", "use", "rect"}
pytestmark = pytest.mark.usefixtures("toys")


class Page(HTMLParser):
    """What a page holds; fails where tags do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.cells: list[tuple[dict[str, str], str]] = []
        self.articles: list[dict[str, Any]] = []
        self.text: list[str] = []
        self._open: list[tuple[str, dict[str, str]]] = []
        self.feed(text)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._saw(tag, {name: value or "" for name, value in attrs})

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self._saw(tag, known)
        if tag not in VOID or known.get("/"):
            self._open.append((tag, known))

    def _saw(self, tag: str, known: dict[str, str]) -> None:
        self.ids += [known["id"]] if "id" in known else []
        for name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
            if name in known:
                (self.links if tag == "a" else self.loads).append(known[name])
        self.loads += re.findall(r"url\(([^)]*)\)", known.get("style", ""))
        if tag == "article":
            self.articles.append({**known, "cells": {}, "text": []})

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        last, _ = self._open.pop()
        assert last == tag, f"</{tag}> closes <{last}>"

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1][0] == "style":
            if self._open:
                self.loads += re.findall(r"@import|url\(\s*['\"]?(?!data:)[^)]*", data)
            return
        self.text.append(data)
        tag, known = self._open[-1]
        if tag in ("td", "dd"):
            self.cells.append((known, data))
        for article in self.articles[-1:] if any(tag == "article" for tag, _ in self._open) else ():
            article["text"].append(data)
            if tag == "dd" and "data-key" in known:
                article["cells"][known["data-key"]] = (known, data)


@pytest.fixture(scope="module")
def text(run: Run) -> str:
    return report_html(run)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_page_is_well_formed_and_asks_for_nothing_outside_of_itself(page: Page, text: str) -> None:
    assert [name for name, n in Counter(page.ids).items() if n > 1] == []
    assert all(load.startswith(("#", "data:")) for load in page.loads), page.loads
    local = {load.removeprefix("#") for load in (*page.loads, *page.links) if load.startswith("#")}
    assert local <= set(page.ids)
    assert {link.split("/")[2] for link in page.links if link.startswith("http")} == {"doi.org"}
    assert "<script" not in text


def test_every_number_of_a_latent_is_that_of_the_tables(run: Run, page: Page) -> None:
    table = run.mapping("selectivity").table
    whole = table[table["condition"].isna() & (table["split"] == "test") & (table["instance"] == 0)]
    copies = run.table("copies").query("model == 'model' and instance == 0").set_index("latent")
    stability = run.table("stability").query("model == 'model' and instance == 0").set_index("latent")
    assert len(page.articles) >= 3
    for article in page.articles:
        latent, cells = int(article["data-latent"]), article["cells"]
        row = whole[(whole["latent"] == latent) & (whole["q"] == float(cells["q"][0]["data-value"]))]
        row = row[row["score"] == float(cells["score"][0]["data-value"])].iloc[0]
        assert found(row.to_frame().T.infer_objects()).all()
        for key in ("score", "null_mean", "p", "q", "best_control_score", "mutual_information", "n_active", "n_visits"):
            assert float(cells[key][0]["data-value"]) == pytest.approx(float(row[key]), abs=0), key
            assert cells[key][1] == number(row[key])
        assert cells["null"][1] == row["null"]
        assert cells["preferred"][1] == row["preferred"]
        assert float(cells["n_effective_units"][0]["data-value"]) == copies["n_effective_units"][latent]
        assert float(cells["seed_match"][0]["data-value"]) == stability["decoder_similarity"][latent]
        said = "".join(article["text"])
        equalled = row["best_control_score"] >= row["score"] - AS_GOOD
        assert (f"equalled by {row['best_control']}" in said) == equalled
        assert ("above every control" in said) != equalled
        assert (f"copy of unit {copies['unit'][latent]}" in said) == copies["copy"][latent]


def test_latents_come_best_first_and_are_counted_against_all(run: Run, page: Page) -> None:
    table = run.mapping("selectivity").table
    whole = table[table["condition"].isna() & (table["split"] == "test") & (table["instance"] == 0)]
    n_found = whole[found(whole)]["latent"].nunique()
    n_supported = whole[whole["supported"]]["latent"].nunique()
    said = " ".join(page.text)
    assert f"{n_found} of {n_supported} supported latents tell a variable of behaviour beyond chance" in said
    assert f"of {n_supported} with enough active bins of 5 latents" in said
    assert f"{len(page.articles)} of {n_found} found latents of instance 0 are shown" in said
    equalled = ["equalled by" in "".join(article["text"]) for article in page.articles]
    q = [float(article["cells"]["q"][0]["data-value"]) for article in page.articles]
    assert list(zip(equalled, q, strict=True)) == sorted(zip(equalled, q, strict=True))
    assert len(Page(report_html(run, n_latents=2)).articles) == 2


def test_the_tables_beside_controls_are_those_of_the_summary(run: Run, page: Page) -> None:
    shown = {cell for _, cell in page.cells}
    for frame in printable(comparison(Findings.of(run)), {"model": run.model.provider}).values():
        assert {*map(str, frame.index), *frame.to_numpy().ravel()} - {""} <= shown


def test_the_plan_its_hash_and_each_verdict_are_told(run: Run, page: Page, text: str) -> None:
    said = " ".join(page.text)
    plan = openings(run)[0]
    assert plan["plan_sha256"] in said
    quoted = re.findall(r"<pre>(.*?)</pre>", text, flags=re.DOTALL)[0]
    assert parse(Preregistration, tomllib.loads(html.unescape(quoted))).sha256 == plan["plan_sha256"]
    table = run.table("hypotheses")
    confirmed = (table["verdict"] == "confirmed").sum()
    assert f"opening 1, confirmatory: {confirmed} of 2 confirmed" in said
    q = [float(known["data-value"]) for known, _ in page.cells if known.get("data-key") == "q"][: len(table)]
    assert q == table["q"].tolist()
    assert [cell for known, cell in page.cells if known.get("data-key") == "verdict"] == table["verdict"].tolist()
    assert "everything else is exploratory" in said


def test_what_another_variable_explains_better_is_shown_by_no_mapper(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    result = run.mapping("selectivity")
    first = tmp_path / "run" / "mappings" / "selectivity"
    table = result.table
    other = table["better_explained_by"].astype("string").where(table["variable"] != "heading", "speed")
    write_mapping(first, replace(result, table=table.assign(better_explained_by=other)))
    second = first.with_name("second")
    second.mkdir()
    write_mapping(second, replace(result, table=table.drop(columns="better_explained_by")))
    page = Page(report_html(Run(tmp_path / "run"), n_latents=2))
    assert not any("heading" in article["text"][1] for article in page.articles)


def test_a_sealed_run_is_reported_on_validation_bins(sealed_run: Run) -> None:
    page = Page(report_html(sealed_run))
    said = " ".join(page.text)
    assert "The test split is sealed" in said
    assert "on validation bins" in said
    assert "on test bins" not in said
    assert page.articles


def test_where_behaviour_is_that_of_another_animal_nothing_is_shown_as_found(unrelated_run: Run) -> None:
    text = report_html(unrelated_run)
    page = Page(text)
    assert "Nothing in this run survives" in text
    assert text.index("Nothing in this run survives") < text.index('id="verdict"')
    assert page.articles == []
    assert "latents" not in page.ids
    assert "<svg" not in text
    assert "open from the start: everything here is exploratory" in text


def test_a_run_without_a_mapping_says_that_nothing_is_known(unmapped_run: Run) -> None:
    page = Page(report_html(unmapped_run))
    assert "Nothing was mapped" in " ".join(page.text)
    assert page.articles == []


def test_halves_of_a_signed_code_are_latents_of_their_own(signed_run: Run) -> None:
    page = Page(report_html(signed_run, instance=1))
    heads = [article["text"][0] for article in page.articles]
    assert heads
    assert all(head.endswith((" (+) ", " (−) ")) for head in heads)
    assert "of 10 latents" in " ".join(page.text)


def test_the_same_run_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    first = write_report(run, tmp_path / "a" / "r.html", n_latents=1, formats=("svg", "pdf", "png"))
    second = write_report(Run(run.folder), tmp_path / "b" / "r.html", n_latents=1, formats=("svg", "pdf", "png"))
    assert len(first) == len(second) == 4
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_the_configuration_that_is_printed_makes_the_run_again(run: Run, text: str, tmp_path: Path) -> None:
    printed = re.findall(r"<pre>(.*?)</pre>", text, flags=re.DOTALL)[-1]
    file = tmp_path / "run.toml"
    file.write_text(html.unescape(printed), encoding="utf-8")
    assert compose(file=file) == parse(RunConfig, run.about["config"])


def test_methods_name_models_controls_seeds_splits_and_versions(run: Run, text: str) -> None:
    for said in ("nmf (nldisco-core", "seeds [0, 1]", "raw-units (", "Whole trials", "n_shifts 199", "Python 3."):
        assert said in text
    n_bins = run.about["recording"]["n_bins"]
    assert f"{n_bins['train']:,}, {n_bins['validation']:,} and {n_bins['test']:,} bins" in text
    assert REFERENCES["fdr"][1] in text
    assert REFERENCES["matryoshka"][1] not in text


def test_text_of_data_is_escaped(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    about = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    about["card"]["title"] = "<script>alert('x')</script> & co"
    about["verdict"] = ["a < b & c > d"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(about), encoding="utf-8")
    text = report_html(Run(tmp_path / "run"), n_latents=1)
    assert "<script" not in text
    assert "a < b & c > d" in " ".join(Page(text).text)


def test_an_instance_that_is_not_there_is_refused(run: Run) -> None:
    with pytest.raises(RunError, match="has 2 instances, counted from 0"):
        report_html(run, instance=2)


def test_the_command_writes_page_and_figures(run: Run, tmp_path: Path, nldisco: Callable[..., Any]) -> None:
    file = tmp_path / "report.html"
    done = nldisco("report", run.folder, "--to", file, "--latents", "1", "--formats", "svg,png")
    assert done.code == 0, done.err
    assert done.out.split() == [str(path) for path in (file, *sorted((tmp_path / "report-figures").iterdir())[::-1])]
    assert {path.suffix for path in (tmp_path / "report-figures").iterdir()} == {".svg", ".png"}
    assert Page(file.read_text(encoding="utf-8")).articles
    assert nldisco("report", run.folder, "--formats", "jpeg").code == 2


def test_a_browser_without_network_shows_it_in_both_themes_without_a_complaint(
    run: Run, tmp_path: Path, chromium: str
) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    [file] = write_report(run, tmp_path / "report.html", n_latents=2)
    complaints: list[str] = []
    grounds = set()
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        try:
            for theme in ("light", "dark"):
                context = browser.new_context(color_scheme=theme, viewport={"width": 1180, "height": 900}, offline=True)
                shown = context.new_page()
                shown.on("console", lambda message: complaints.append(message.text))
                shown.on("pageerror", lambda error: complaints.append(str(error)))
                shown.on("request", lambda asked: complaints.append(asked.url) if asked.url != file.as_uri() else None)
                shown.goto(file.as_uri())
                assert complaints == []
                assert shown.locator("article.latent svg").count() == 2
                wide = shown.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                assert wide == 0
                assert shown.evaluate(_CONTRAST) > 7, f"text must stand out from the ground, {theme}"
                grounds.add(shown.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
        finally:
            browser.close()
    assert len(grounds) == 2


_CONTRAST = """() => {
  const light = (colour) => {
    const channel = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    const [r, g, b] = colour.match(/[0-9.]+/g).map(Number);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  };
  const root = getComputedStyle(document.documentElement);
  const [a, b] = [light(root.color), light(root.backgroundColor)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""


def test_numbers_are_short_and_what_is_not_defined_is_a_dash() -> None:
    assert [number(value) for value in (0.123456, 12345, 2.0, None, pd.NA, float("nan"), "word", True)] == [
        *("0.123", "12,345", "2", "–", "–", "–", "word", "yes"),
    ]
