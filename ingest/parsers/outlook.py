"""Outlook messages (MS-OXMSG) through python-oxmsg, its only importer."""

from __future__ import annotations

import email.policy
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from functools import partial

from oxmsg import Message
from oxmsg.attachment import Attachment as OutlookAttachment
from oxmsg.properties import Properties as OutlookProperties
from oxmsg.storage import Storage

from ingest.extraction import Element, Extraction
from ingest.parsers.attachments import Attachments
from ingest.parsers.damage import damage
from ingest.parsers.encoding import decode
from ingest.parsers.kinds import FileKind
from ingest.parsers.letters import attachment_list, letter_elements, quoted_elements, quoted_paragraphs
from ingest.parsers.mail_headers import MAX_TAKEN_APART_CHARS
from ingest.parsers.properties import Properties, in_utc

DISPLAY_TO, DISPLAY_CC = 0x0E04, 0x0E03
HTML = 0x1013
SHORT_FILENAME, CONTENT_ID = 0x3704, 0x3712
EMBEDDED_MESSAGE = "__substg1.0_3701000D"
EMBEDDED_HEADER_BYTES = 24  # MS-OXMSG 2.4.1.2; of a message at the top it is 32
UNNAMED_MESSAGE = "message"


class MsgParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """As a mail in the internet format: attached files and messages are apart, earlier mails lie under headings."""
        with damage("the message"):
            message = Message.load(data)
            files = _attached(message)
            elements = (
                *letter_elements(message.subject, _envelope(message), _body(message)),
                *attachment_list(files.listed()),
            )
            properties = Properties(message.subject, message.sender or "", in_utc(message.sent_date))
            found = properties.describing(elements, FileKind.MSG)
            return replace(found, attachments=files.as_tuple(), notices=files.notices())


def _envelope(message: Message) -> dict[str, str]:
    headers = {name.lower(): " ".join(str(value).split()) for name, value in message.message_headers.items()}
    sent = in_utc(message.sent_date)
    return {
        "From": message.sender or "",
        "To": headers.get("to") or message.properties.str_prop_value(DISPLAY_TO) or _recipients(message),
        "Cc": headers.get("cc") or message.properties.str_prop_value(DISPLAY_CC) or "",
        "Date": headers.get("date") or (f"{sent:%Y-%m-%d %H:%M} UTC" if sent else ""),
    }


def _recipients(message: Message) -> str:
    return ", ".join(each.name for each in message.recipients)


def _body(message: Message) -> Iterator[tuple[int, Element]]:
    html = _html(message)
    if html.strip():
        yield from quoted_elements(html)
    else:
        yield from quoted_paragraphs((message.body or "").replace("\r\n", "\n").replace("\r", "\n"))


def _html(message: Message) -> str:
    """The declared encoding of the body is often wrong; then its bytes decide."""
    try:
        return message.html_body or ""
    except (LookupError, UnicodeDecodeError):
        return decode(message.properties.binary_prop_value(HTML) or b"") or ""


def _attached(message: Message) -> Attachments:
    files = Attachments()
    for each in message.attachments:
        inner = _embedded(each)
        if inner is not None:
            embedded = _Embedded(inner)
            files.take(f"{embedded.subject or UNNAMED_MESSAGE}.eml", partial(_as_mail, embedded))
        elif not _belongs_to_body(each):
            name = each.file_name or each.properties.str_prop_value(SHORT_FILENAME) or ""
            files.take(name, partial(_bytes, each))
    return files


def _bytes(attachment: OutlookAttachment) -> bytes:
    return attachment.file_bytes or b""


def _embedded(attachment: OutlookAttachment) -> Storage | None:
    """The folder of an attached message; None where a file is attached."""
    folder = attachment._storage
    inside = folder.storages if isinstance(folder, Storage) else ()
    return next((each for each in inside if each.name == EMBEDDED_MESSAGE), None)


def _belongs_to_body(attachment: OutlookAttachment) -> bool:
    """Pictures that the body shows, such as the logo in a signature."""
    is_picture = (attachment.mime_type or "").startswith("image/")
    return is_picture and attachment.properties.str_prop_value(CONTENT_ID) is not None


class _Embedded(Message):
    """A message inside a message, whose properties start earlier."""

    @property
    def properties(self) -> OutlookProperties:
        return OutlookProperties(self._storage, properties_header_offset=EMBEDDED_HEADER_BYTES)


def _as_mail(message: Message) -> bytes:
    """An embedded message has no bytes of its own: it is written as a mail, with what is attached to it."""
    mail = EmailMessage(policy=email.policy.default.clone(refold_source="none"))
    for field, value in {"Subject": message.subject, **_envelope(message)}.items():
        if value:
            mail[field] = " ".join(value.split())[:MAX_TAKEN_APART_CHARS]
    mail.set_content(message.body or "")
    if html := _html(message):
        mail.add_alternative(html, subtype="html")
    for each in _attached(message):
        mail.add_attachment(each.data, maintype="application", subtype="octet-stream", filename=each.name)
    return mail.as_bytes()
