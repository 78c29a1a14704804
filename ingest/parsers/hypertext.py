"""Web pages and Markdown through `unstructured`; its only importer.

`unstructured` 0.27 guesses from a text whether it is prose, an address or nothing: for that it downloads a spaCy model,
and it drops what has a single character, say the 7 of a form. None of it is wanted here, so `_kind_of` takes the place
of the guess. And it reports home at import: the environment that the sandbox gives to its children tells it not to.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape, unescape

from unstructured.documents import elements as vendor
from unstructured.partition.html import parser, partition_html
from unstructured.partition.md import partition_md
from unstructured.partition.text_type import is_bulleted_text

from ingest.extraction import Element, ElementKind, Extraction
from ingest.parsers.damage import damage
from ingest.parsers.kinds import FileKind
from ingest.parsers.plain import paragraphs, text_of
from ingest.parsers.properties import Properties, iso_time
from ingest.parsers.reach import READ_AS_PLAIN, is_tangled_markdown
from ingest.parsers.tables import html_table_text

NO_LANGUAGE = [""]  # switches its own language detection off; ours works on finished chunks
HEAD_CHARS = 100_000
META = re.compile(r"<meta\s([^<>]*+)>", re.IGNORECASE)
ATTRIBUTE = re.compile(r"""(?<![\w-])([\w-]++)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)')""")
PICTURE = re.compile(r"<img\s[^<>]*+>", re.IGNORECASE)
HTML_TITLE = re.compile(r"<title[^<>]*+>([^<]*+)", re.IGNORECASE)
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
OTHER = (vendor.Header, vendor.Footer, vendor.Image, vendor.CodeSnippet, vendor.Address, vendor.EmailAddress)


def _kind_of(text: str) -> type[vendor.Text]:
    return vendor.ListItem if is_bulleted_text(text) else vendor.Text


parser.derive_element_type_from_text = _kind_of


class HtmlParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """Headings, paragraphs, lists and tables of the body; scripts and styles are left out, nothing is fetched."""
        return html_extraction(text_of(data))


class MarkdownParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """As the rendered page; front matter is left out."""
        text = FRONT_MATTER.sub("", text_of(data).lstrip("\ufeff"))
        if is_tangled_markdown(text):
            return Extraction("", paragraphs(text), FileKind.MARKDOWN, notices=(READ_AS_PLAIN,))
        found = _read(partition_md, text=text)
        return Extraction("", tuple(_element(each) for each in found), FileKind.MARKDOWN)


def html_extraction(text: str) -> Extraction:
    """A whole web page, with what its head says about it."""
    head = text[:HEAD_CHARS]
    title = HTML_TITLE.search(head)
    own = (Element(ElementKind.TITLE, " ".join(unescape(title[1]).split())),) if title else ()
    return _properties(head).describing(own + html_elements(text), FileKind.HTML)


def _properties(head: str) -> Properties:
    found = dict(filter(None, map(_meta, META.findall(head))))
    created = found.get("article:published_time") or found.get("dcterms.created") or found.get("date", "")
    modified = found.get("article:modified_time") or found.get("dcterms.modified") or found.get("last-modified", "")
    return Properties(author=found.get("author", ""), created_at=iso_time(created), modified_at=iso_time(modified))


def _meta(attributes: str) -> tuple[str, str] | None:
    """Name and content of one `<meta>`; None where it lacks either."""
    values = {name.lower(): first or second for name, first, second in ATTRIBUTE.findall(attributes)}
    name = values.get("name") or values.get("property")
    return (name.lower(), unescape(values["content"])) if name and "content" in values else None


def html_elements(text: str) -> tuple[Element, ...]:
    """The elements of an HTML page or of the HTML body of a mail."""
    if not text.strip():
        return ()
    return tuple(_element(each) for each in _read(partition_html, text=PICTURE.sub(_in_words, text)))


def _in_words(picture: re.Match[str]) -> str:
    """The text that stands for a picture, which `unstructured` would drop inside of tables."""
    values = {name.lower(): first or second for name, first, second in ATTRIBUTE.findall(picture[0])}
    return f" {escape(unescape(values.get('alt', '')))} "


def _read(partition: Callable[..., list[vendor.Element]], **arguments: object) -> list[vendor.Element]:
    """What `unstructured` finds; whatever it and the readers below it raise on bad input means a damaged file."""
    with damage("the content"):
        return partition(**arguments, languages=NO_LANGUAGE)


def _element(found: vendor.Element) -> Element:
    metadata = found.metadata
    page = metadata.page_number
    if isinstance(found, vendor.Table):
        return Element(ElementKind.TABLE, html_table_text(metadata.text_as_html or "") or found.text, page=page)
    if isinstance(found, vendor.Title) and metadata.category_depth is not None:
        return Element(ElementKind.HEADING, found.text, metadata.category_depth + 1, page)
    if isinstance(found, vendor.ListItem):
        return Element(ElementKind.LIST_ITEM, found.text, page=page)
    if isinstance(found, OTHER):
        return Element(ElementKind.OTHER, found.text, page=page)
    return Element(ElementKind.PARAGRAPH, found.text, page=page)
