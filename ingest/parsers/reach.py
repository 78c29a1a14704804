"""How far readers of light markup would have to look for the end of what a text begins. Pure.

Python-Markdown and docutils look for each bracket's, tag's and emphasis's end anew. Where it is near, as in what people
write, that costs nothing; where it is far or missing, 20 kB of `[` take a minute. So the distances are added up first,
in one go, and a text in which they are out of all proportion is read as plain text. No count of marks would do: a list
of 10,000 links is an ordinary document. Only what they compare with every other of its kind is counted: headings, rules
and references.
"""

from __future__ import annotations

import re
from collections import defaultdict

READ_AS_PLAIN = "read as plain text: its markup is endless, or too much to tell apart"
MAX_CHARS = 4_000_000
"""A megabyte takes seconds even of the kindest text."""
FREE_REACH = 1_000_000
MAX_REACH = 10
"""On average per character. Ordinary documents have less than 2."""

MAX_COMPARED = 5_000
MAX_LINE_CHARS = 10_000
"""Of reStructuredText: wider tables take minutes, and docutils replaces no name by a longer text."""

MARKDOWN = re.compile(r"(?P<blank>\n[ \t]*+(?=\n))|(?P<link>\]\()|(?P<open>\[|<(?=[A-Za-z/!?]))|(?P<close>[\])>])")
FENCE = re.compile(r"^(```++|~~~++)[ \t]*+([^\n]*+)$", re.MULTILINE)
MARKDOWN_COMPARED = re.compile(
    r"^ {0,3}+(?:#|-[ ]*+-[ ]*+-|\*[ ]*+\*[ ]*+\*|_[ ]*+_[ ]*+_)|^[=-]++[ ]*+$", re.MULTILINE
)
PARTNERS = {"]": "[", ")": "(", ">": "<"}
RESTRUCTURED = re.compile(
    r"""(?P<blank>\n[ \t]*+(?=\n))|(?<![^\s:(\[{<"'])(?P<open>\*\*|``|[*`|])(?=\S)"""
    r"""|(?<=\S)(?P<close>\*\*|``|[*`|])(?![^\W_])"""
)
RESTRUCTURED_COMPARED = re.compile(
    r"[^\W_]_{1,2}+(?!\w)|[`\]|]_|\|[^|\n]{1,100}+\||^([=~^\"'*+#`.:_-])\1++[ ]*+$", re.MULTILINE
)


class _Open:
    """Where each kind of mark was opened, and how far away those that are closed were."""

    def __init__(self) -> None:
        self.reach = 0
        self._places: defaultdict[str, list[int]] = defaultdict(list)

    def begin(self, mark: str, at: int) -> None:
        self._places[mark].append(at)

    def end(self, mark: str, at: int) -> None:
        if self._places[mark]:
            self.reach += at - self._places[mark].pop()

    def end_all(self, marks: str, at: int) -> None:
        for mark in marks.split():
            self.reach += at * len(self._places[mark]) - sum(self._places[mark])
            self._places[mark].clear()


def is_tangled_markdown(text: str) -> bool:
    """Whether Python-Markdown would look too far."""
    marks = _Open()
    text = _without_code(text, marks)
    for found in MARKDOWN.finditer(text):
        at, kind = found.start(), found.lastgroup
        if kind == "blank":
            marks.end_all("[ (", at)
        elif kind == "link":
            marks.end("[", at)
            marks.begin("(", at)
        elif kind == "open":
            marks.begin(found[0], at)
        elif found[0] == ">":
            marks.end_all("<", at)
        else:
            marks.end(PARTNERS[found[0]], at)
    marks.end_all("[ ( <", len(text))
    return _is_too_much(marks, MARKDOWN_COMPARED, text)


def _without_code(text: str, marks: _Open) -> str:
    """The text without its fenced code, in which nothing is looked for; fences that nothing ends are added up."""
    kept: list[str] = []
    position = 0
    opened: list[re.Match[str]] = []
    for found in FENCE.finditer(text):
        if opened and found[1] == opened[0][1] and not found[2]:
            kept.append(text[position : opened[0].start()])
            position = found.end()
            opened = []
        else:
            opened.append(found)
    for each in opened:
        marks.begin("```", each.start())
    marks.end_all("```", len(text))
    return "".join((*kept, text[position:]))


def is_tangled_restructured(text: str) -> bool:
    """Whether docutils would look too far."""
    marks = _Open()
    for found in RESTRUCTURED.finditer(text):
        if found.lastgroup == "blank":
            marks.end_all("* ** ` `` |", found.start())
        elif found.lastgroup == "open":
            marks.begin(found[0], found.start())
        else:
            marks.end_all(found[0], found.start())
    marks.end_all("* ** ` `` |", len(text))
    too_wide = any(len(line) > MAX_LINE_CHARS for line in text.split("\n"))
    return too_wide or _is_too_much(marks, RESTRUCTURED_COMPARED, text)


def _is_too_much(marks: _Open, compared: re.Pattern[str], text: str) -> bool:
    too_far = marks.reach > FREE_REACH + MAX_REACH * len(text)
    return len(text) > MAX_CHARS or too_far or sum(1 for _ in compared.finditer(text)) > MAX_COMPARED
