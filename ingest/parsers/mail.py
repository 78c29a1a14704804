"""Mail in the internet message format (RFC 5322), with the standard library; HTML bodies through the HTML parser."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage

from ingest.extraction import Element, ElementKind, Extraction
from ingest.parsers.detection import FileKind
from ingest.parsers.encoding import decode
from ingest.parsers.office import html_elements
from ingest.parsers.plain import csv_table, paragraphs
from rag.errors import DocumentRefused, RefusalReason

ENVELOPE = ("From", "To", "Cc", "Date")


class MailParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """Subject as title, the envelope, the body, then each attachment under a heading with its name.

        Attachments that are text are read; of others the name is kept. Nested messages are not followed.
        """
        try:
            message = email.message_from_bytes(_as_bytes(data), policy=email.policy.default)
            return Extraction(_header(message, "Subject"), tuple(_elements(message)), FileKind.EML)
        except (MemoryError, DocumentRefused):
            raise
        except Exception as error:  # the email package fails in many ways on malformed headers
            raise DocumentRefused(RefusalReason.DAMAGED, f"not readable as mail: {type(error).__name__}") from error


def _as_bytes(data: bytes) -> bytes:
    """Mail is ASCII with declared exceptions; a file saved as UTF-16 is brought back to that."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return (decode(data) or "").encode()
    return data


def _elements(message: EmailMessage) -> Iterator[Element]:
    yield Element(ElementKind.TITLE, _header(message, "Subject"))
    lines = (f"{field}: {value}" for field in ENVELOPE if (value := _header(message, field)))
    yield Element(ElementKind.OTHER, "\n".join(lines))
    body = message.get_body(("html", "plain"))
    if isinstance(body, EmailMessage):
        yield from _content(body)
    for attachment in message.iter_attachments():
        if isinstance(attachment, EmailMessage):
            yield from _attachment(attachment)


def _header(message: EmailMessage, field: str) -> str:
    return " ".join(str(message.get(field, "")).split())


def _attachment(part: EmailMessage) -> Iterator[Element]:
    if part.get_content_disposition() == "inline" and part.get_content_maintype() != "text":
        return  # pictures inside the body
    yield Element(ElementKind.HEADING, f"Attachment: {part.get_filename() or part.get_content_type()}", 1)
    if part.get_content_maintype() == "text":
        yield from _content(part)


def _content(part: EmailMessage) -> tuple[Element, ...]:
    text = _text(part)
    match part.get_content_subtype():
        case "html":
            return html_elements(text)
        case "csv":
            return (Element(ElementKind.TABLE, csv_table(text)),)
        case _:
            return paragraphs(text)


def _text(part: EmailMessage) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    try:
        text = payload.decode(part.get_content_charset("utf-8"))
    except (LookupError, UnicodeDecodeError):  # an encoding that nobody knows, or one that is not the one declared
        text = decode(payload) or ""
    return text.replace("\r\n", "\n")
