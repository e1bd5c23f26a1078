"""The tables, lists of facts and sentences in a piece of HTML that a view wrote."""

from __future__ import annotations

from html.parser import HTMLParser

import pandas as pd

__all__ = ["Words", "read_words"]


class Words(HTMLParser):
    """What a piece of HTML says.

    Attributes
    ----------
    tables : one for each ``<table>`` and one for all ``<dt>`` with their ``<dd>``, all as text
    sentences : of each ``<p>``, ``<li>``, ``<h2>`` and ``<summary>``
    """

    def __init__(self) -> None:
        super().__init__()
        self.sentences: list[str] = []
        self._rows: list[list[list[str]]] = []
        self._facts: list[list[str]] = []
        self._text: list[str] = []

    @property
    def tables(self) -> list[pd.DataFrame]:
        """Tables in the order in which they are closed, facts last."""
        made = [pd.DataFrame(rows[1:], columns=_distinct(rows[0])) for rows in self._rows if len(rows) > 1]
        if self._facts:
            made.append(pd.DataFrame(self._facts, columns=["fact", "value"]))
        return made

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a table, a row, or a piece of text."""
        if tag == "table":
            self._rows.append([])
        elif tag == "tr" and self._rows:
            self._rows[-1].append([])
        if tag in ("td", "th", "dt", "dd", "p", "li", "h2", "summary"):
            self._text = []

    def handle_endtag(self, tag: str) -> None:
        """Put a piece of text where it belongs."""
        said = " ".join("".join(self._text).split())
        if tag in ("td", "th") and self._rows and self._rows[-1]:
            self._rows[-1][-1].append(said)
        elif tag == "dt":
            self._facts.append([said, ""])
        elif tag == "dd" and self._facts:
            self._facts[-1][1] = said
        elif tag in ("p", "li", "h2", "summary") and said:
            self.sentences.append(said)
        else:
            return
        self._text = []

    def handle_data(self, data: str) -> None:
        """Keep text."""
        self._text.append(data)


def read_words(content: str) -> Words:
    """What a piece of HTML says.

    >>> said = read_words("<p>Two <b>units</b>.</p><dl><dt>Model</dt><dd>pca</dd></dl>")
    >>> said.sentences, said.tables[0].to_numpy().tolist()
    (['Two units.'], [['Model', 'pca']])
    """
    words = Words()
    words.feed(content)
    words.close()
    return words


def _distinct(names: list[str]) -> list[str]:
    return [name if names.index(name) == i else f"{name} {i}" for i, name in enumerate(names)]
