"""What a run shows, or does not, as statements with a topic and a standing beside the controls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

__all__ = ["Standing", "Statement", "Topic", "grouped", "recorded"]

Topic: TypeAlias = Literal["Reconstruction", "Decoding", "Tuning", "Seeds and copies", "Controls", "As recorded"]
Standing: TypeAlias = Literal[
    "above every control compared", "a control is as good or better", "not compared", "not shown"
]
"""From the strongest to the weakest. Not compared: no control speaks of it. Not shown: it was looked for, not found."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One thing that a run shows, or does not.

    Attributes
    ----------
    topic : what it is about
    standing : how it stands beside the controls; None for a sentence that was recorded without one
    text : one or two sentences
    """

    topic: Topic
    standing: Standing | None
    text: str


def recorded(about: Mapping[str, Any]) -> tuple[Statement, ...]:
    """The statements that a run keeps; a sentence whose topic and standing are not kept is ``As recorded``."""
    judged = {each["text"]: Statement(**each) for each in about.get("findings", [])}
    return tuple(
        judged.get(text, Statement(topic="As recorded", standing=None, text=text)) for text in about.get("verdict", [])
    )


def grouped(found: Iterable[Statement]) -> Iterator[tuple[Topic, list[Statement]]]:
    """Statements by topic, the strongest standing of each topic first."""
    held = list(found)
    order = (*get_args(Standing), None)
    for topic in get_args(Topic):
        own = [each for each in held if each.topic == topic]
        if own:
            yield topic, sorted(own, key=lambda each: order.index(each.standing))
