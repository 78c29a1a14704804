"""What files say about themselves: title, author, dates. Nonsense is left out, dates are in UTC."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ingest.extraction import Element, Extraction
from ingest.parsers.markup import Node, find_text

CORE_PART = "docProps/core.xml"
YEARS = range(1970, 2101)  # beyond these a clock was unset
TEMPLATE_TITLES = {
    "powerpoint presentation",
    "powerpoint-präsentation",
    "word document",
    "microsoft word document",
    "untitled",
    "title",
    "titel",
}
TEMPLATE_AUTHORS = {"python-docx", "openpyxl", "apache poi", "user", "author", "unknown", "microsoft office user"}


@dataclass(frozen=True, slots=True)
class Properties:
    """What a file says about itself; empty or None where it does not."""

    title: str = ""
    author: str = ""
    created_at: datetime | None = None
    modified_at: datetime | None = None

    def describing(self, elements: tuple[Element, ...], media_type: str) -> Extraction:
        """An extraction with these properties."""
        title = "" if self.title.strip().lower() in TEMPLATE_TITLES else self.title
        author = "" if self.author.strip().lower() in TEMPLATE_AUTHORS else self.author
        return replace(
            Extraction(title, elements, media_type),
            author=author,
            created_at=self.created_at,
            modified_at=self.modified_at,
        )


def dublin_core(root: Node) -> Properties:
    """Of Office packages (docProps/core.xml), OpenDocument (meta.xml) and EPUB (OPF), which use the same names."""
    return Properties(
        title=find_text(root, "title"),
        author=find_text(root, "initial-creator") or find_text(root, "creator"),
        created_at=iso_time(find_text(root, "created") or find_text(root, "creation-date")),
        modified_at=iso_time(find_text(root, "modified") or (find_text(root, "date"))),
    )


def iso_time(text: str) -> datetime | None:
    """UTC time of a date in ISO 8601, with or without a time; local times are taken as UTC."""
    try:
        return in_utc(datetime.fromisoformat(_six_digits(text.strip())))
    except ValueError:
        return None


def mail_time(text: str) -> datetime | None:
    """UTC time of a date as mails write it (RFC 5322)."""
    try:
        return in_utc(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def in_utc(moment: object) -> datetime | None:
    """The same moment in UTC; None where it is no time, or not one at which files were written."""
    if not isinstance(moment, datetime) or moment.year not in YEARS:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _six_digits(text: str) -> str:
    """OpenDocument writes nanoseconds, of which Python knows the first six digits only."""
    head, point, tail = text.partition(".")
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
    return f"{head}{point}{digits[:6]}{tail[len(digits) :]}" if point else text
