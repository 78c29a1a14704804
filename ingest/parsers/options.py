"""What an operator can choose about reading documents; plain values, so that they can be handed to a parser process."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

PDF_READERS = {"pymupdf": "ingest.parsers.pdf", "pdfium": "ingest.parsers.pdfium"}
"""Module of each PDF reader; both offer `PdfParser` and `page_pixels`."""
OCR_ENGINES = {"rapidocr": "ingest.parsers.rapid", "tesseract": "ingest.parsers.tesseract", "off": ""}
"""Module of each engine, which offers `Engine`; none where recognition is switched off."""


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """Choices with their defaults.

    Attributes:
        pdf_reader: name in `PDF_READERS`.
        ocr: name in `OCR_ENGINES`.
        ocr_pages: pages of one document, at most, whose characters are recognised.
        ocr_s: wall time, at most, before another page of the same document is begun; below the limit for the whole
            document, so that what was recognised until then is not lost.
    """

    pdf_reader: str = "pymupdf"
    ocr: str = "rapidocr"
    ocr_pages: int = 100
    ocr_s: float = 40.0

    def to_word(self) -> str:
        """As one argument of a command; `from_word` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_word(cls, word: str) -> ReadingOptions:
        return cls(**json.loads(word))
