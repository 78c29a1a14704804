"""Mail in the internet message format (RFC 5322), with the standard library; HTML bodies through the HTML parser."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage, Message
from functools import partial

from ingest.extraction import Element, Extraction
from ingest.parsers.attachments import Attachments
from ingest.parsers.damage import damage, damaged, encrypted
from ingest.parsers.encoding import decode
from ingest.parsers.hypertext import html_extraction
from ingest.parsers.kinds import FileKind
from ingest.parsers.letters import attachment_list, letter_elements, quoted_elements, quoted_paragraphs
from ingest.parsers.mail_headers import BOUNDED, cut_headers
from ingest.parsers.properties import Properties, mail_time

ENVELOPE = ("From", "To", "Cc", "Date")
SIGNATURES = {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"}
ENCRYPTED = {"multipart/encrypted", "application/pgp-encrypted"}
MAX_PARTS = 10_000
BODY_TYPES = {"text/plain", "text/html"}
UNNAMED_MESSAGE = "message"


class MailParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """Subject as title, the envelope, the body with earlier mails under headings; attached files and mails apart.

        Pictures and signatures that belong to the body are left out.
        """
        with damage("the mail"):
            message = email.message_from_bytes(_as_bytes(data), policy=BOUNDED)
            if _is_encrypted(message):
                raise encrypted("the mail is encrypted (S/MIME or PGP); only its recipients can read it")
            parts = _Parts(message)
            envelope = {field: _header(message, field) for field in ENVELOPE}
            subject = _header(message, "Subject")
            body = (each for part in parts.bodies for each in _content(part))
            elements = (
                *letter_elements(subject, envelope, body),
                *attachment_list(parts.files.listed()),
            )
            properties = Properties(subject, envelope["From"], mail_time(envelope["Date"]))
        found = properties.describing(elements, FileKind.EML)
        notices = (*cut_headers(message), *parts.files.notices())
        return replace(found, attachments=parts.files.as_tuple(), notices=notices)


class MhtmlParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """A web page saved as one file; its pictures and styles are left out."""
        with damage("the web page"):
            message = email.message_from_bytes(_as_bytes(data), policy=BOUNDED)
            for part in message.walk():
                if part.get_content_type() == "text/html":
                    page = html_extraction(_text(part))
                    return replace(
                        page,
                        title=_header(message, "Subject"),
                        media_type=FileKind.MHTML,
                        created_at=page.created_at or mail_time(_header(message, "Date")),
                    )
        raise damaged("there is no page in it")


class _Parts:
    """The parts of a message: those that are its body, and those that are files of their own."""

    def __init__(self, message: EmailMessage) -> None:
        self.bodies: list[EmailMessage] = []
        self.files = Attachments()
        self._seen = 0
        self._take(message)

    def _take(self, part: EmailMessage) -> None:
        self._seen += 1
        if self._seen > MAX_PARTS:
            raise damaged(f"it has more than {MAX_PARTS:,} parts")
        kind = part.get_content_type()
        if kind == "message/rfc822":
            self._take_message(part)
        elif kind == "multipart/alternative":
            self._take(_best(part))
        elif part.is_multipart():
            for each in part.iter_parts():
                if isinstance(each, EmailMessage):
                    self._take(each)
        elif kind in BODY_TYPES and not part.is_attachment() and not part.get_filename():
            self.bodies.append(part)
        elif kind not in SIGNATURES and not _belongs_to_body(part):
            self.files.take(part.get_filename() or part.get_content_type().replace("/", "."), partial(_bytes, part))

    def _take_message(self, part: EmailMessage) -> None:
        inner = part.get_payload(0) if part.is_multipart() else None
        if isinstance(inner, EmailMessage):
            name = part.get_filename() or f"{_header(inner, 'Subject') or UNNAMED_MESSAGE}.eml"
            self.files.take(name, partial(inner.as_bytes, policy=email.policy.compat32))


def _best(alternatives: EmailMessage) -> EmailMessage:
    """The last alternative that is or holds HTML, else the first: plain text."""
    parts = [part for part in alternatives.iter_parts() if isinstance(part, EmailMessage)]
    if not parts:
        raise damaged("it announces alternatives and has none")
    html = [part for part in parts if any(each.get_content_type() == "text/html" for each in part.walk())]
    return html[-1] if html else parts[0]


def _is_encrypted(message: EmailMessage) -> bool:
    kind = message.get_content_type()
    enveloped = kind in {"application/pkcs7-mime", "application/x-pkcs7-mime"}
    return kind in ENCRYPTED or (enveloped and message.get_param("smime-type") != "signed-data")


def _belongs_to_body(part: EmailMessage) -> bool:
    """Pictures that a body shows, such as the logo in a signature."""
    return (
        part.get_content_maintype() == "image"
        and not part.is_attachment()
        and (part.get_content_disposition() == "inline" or "Content-ID" in part)
    )


def _as_bytes(data: bytes) -> bytes:
    """Mail is ASCII with declared exceptions; a file saved as UTF-16 is brought back to that."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return (decode(data) or "").encode()
    return data


def _header(message: Message, field: str) -> str:
    return " ".join(str(message.get(field, "")).split())


def _content(part: EmailMessage) -> Iterator[tuple[int, Element]]:
    text = _text(part)
    if part.get_content_subtype() == "html":
        yield from quoted_elements(text)
    else:
        yield from quoted_paragraphs(text)


def _bytes(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _text(part: Message) -> str:
    payload = _bytes(part)
    try:
        text = payload.decode(part.get_content_charset("utf-8"))
    except (LookupError, UnicodeDecodeError):  # an encoding that nobody knows, or one that is not the one declared
        text = decode(payload) or ""
    return text.replace("\r\n", "\n")
