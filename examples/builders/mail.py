"""EML by the standard library: plain text with attachments, fixed ids and boundaries."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime

from examples.builders.source import Block, Source, plain

_POLICY = EmailPolicy(linesep="\n", max_line_length=998)


def mail(source: Source, attachments: list[tuple[str, str, bytes]]) -> bytes:
    """The message with `attachments` (file name, media type, content), lines ended by LF."""
    message = EmailMessage(policy=_POLICY)
    for name in ("From", "To", "Cc", "Subject"):
        if value := source.head.get(name.lower()):
            message[name] = value
    message["Date"] = format_datetime(source.moment)
    message["Message-ID"] = f"<{source.path.stem}@hansekai.example>"
    message.set_content("\n\n".join(map(_text, source.blocks)) + "\n", charset="utf-8", cte="8bit")
    for name, media_type, content in attachments:
        main, sub = media_type.split("/")
        message.add_attachment(content, maintype=main, subtype=sub, filename=name)
    if message.is_multipart():
        message.set_boundary(f"=-{source.path.stem}-=")
    return message.as_bytes()


def _text(block: Block) -> str:
    if block.kind == "table":
        return "\n".join(" | ".join(row) for row in block.rows)
    if block.kind in {"list", "numbered"}:
        return "\n".join(f"- {plain(line)}" for line in block.lines)
    return "\n".join(map(plain, block.lines))
