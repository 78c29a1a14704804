"""Files for the benchmarks, out of a fixed seed: PDFs of text, office files, trees of notes. None is copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import docx
import numpy as np
import openpyxl  # type: ignore[import-untyped]
import pptx
import pymupdf
from pptx.util import Inches

SEED = 20_260_401
VOCABULARY = (
    "Abteilung Angebot Antrag Arbeit Bericht Beschluss Dienst Ende Fahrt Frist Gesetz Halle Jahr Kosten Kunde Lager "
    "Leiter Lieferung Maschine Mitarbeiter Monat Ordnung Plan Preis Raum Rechnung Regel Reise Schaden Tag Teil Termin "
    "Urlaub Verfahren Vertrag Vorschrift Werk Zahlung Zeit aber alle auch auf aus bei bleibt das den der die ein eine "
    "erhält für gilt hat im in ist kann mit muss nach nicht nur oder ohne sich sind so soll und vom von vor werden "
    "wird zu zum zur"
)
PAGE = (60, 60, 535, 780)  # A4 with margins, in points
BELOW_HEADING = (60, 100, 535, 780)
WORDS_A_PAGE = 400
PARAGRAPHS_A_PAGE = 6
WORDS_A_SECTION = 120
A_FOLDER = 50
NOTE = ".markdown"  # LlamaIndex wants another package to read ".md", and takes this as the text that it is


class Words:
    """An endless source of German words without sense, the same ones each time."""

    def __init__(self, seed: int = SEED) -> None:
        self._random = np.random.default_rng(seed)
        self._vocabulary = VOCABULARY.split()

    def line(self, number: int) -> str:
        """So many words as one sentence."""
        drawn = self._random.choice(self._vocabulary, number).tolist()
        return " ".join(drawn) + "."


def pdf(path: Path, pages: int, words: Words) -> None:
    """Running text, a heading on every page, a number at its foot."""
    document = pymupdf.open()  # type: ignore[no-untyped-call]
    for number in range(1, pages + 1):
        page = document.new_page()
        paragraphs = [words.line(WORDS_A_PAGE // PARAGRAPHS_A_PAGE) for _ in range(PARAGRAPHS_A_PAGE)]
        page.insert_textbox(PAGE, f"{number} {words.line(4)}", fontsize=16)
        page.insert_textbox(BELOW_HEADING, "\n\n".join(paragraphs), fontsize=10)
        page.insert_text((290, 810), str(number), fontsize=9)
    document.save(path, deflate=True)  # type: ignore[no-untyped-call]
    document.close()  # type: ignore[no-untyped-call]


def office(folder: Path, number: int, words: Words) -> list[Path]:
    """So many of each: a report with headings, lists and tables, a talk, and a workbook."""
    made = []
    for at in range(number):
        for name, write in (("docx", _report), ("pptx", _talk), ("xlsx", _workbook)):
            made.append(folder / f"{at}.{name}")
            write(made[-1], words)
    return made


def _report(path: Path, words: Words) -> None:
    document = docx.Document()
    for _ in range(12):
        document.add_heading(words.line(4), 2)
        for _ in range(6):
            document.add_paragraph(words.line(60))
        for _ in range(4):
            document.add_paragraph(words.line(8), style="List Bullet")
        table = document.add_table(rows=0, cols=4)
        for row in _rows(words, 8, 4):
            for cell, text in zip(table.add_row().cells, row, strict=True):
                cell.text = text
    document.save(str(path))


def _talk(path: Path, words: Words) -> None:
    talk = pptx.Presentation()
    for _ in range(20):
        slide = talk.slides.add_slide(talk.slide_layouts[5])
        slide.shapes.title.text = words.line(5)
        for place in range(3):
            box = slide.shapes.add_textbox(Inches(1), Inches(2 + place), Inches(8), Inches(1))
            box.text_frame.text = words.line(20)
    talk.save(str(path))


def _workbook(path: Path, words: Words) -> None:
    book = openpyxl.Workbook()
    for _ in range(3):
        sheet = book.create_sheet()
        for row in _rows(words, 200, 6):
            sheet.append(row)
    book.save(path)


def _rows(words: Words, number: int, columns: int) -> Iterator[Sequence[str]]:
    yield [words.line(1).rstrip(".") + str(column) for column in range(columns)]
    for at in range(1, number):
        yield [words.line(2), *(str(at * column) for column in range(1, columns))]


def notes(folder: Path, number: int, words: Words, sections: int = 1) -> list[Path]:
    """A tree of Markdown notes."""
    made = []
    for at in range(number):
        path = folder / f"{at // A_FOLDER:03}" / f"{at:05}{NOTE}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(_section(words) for _ in range(sections)), encoding="utf-8")
        made.append(path)
    return made


def edit(path: Path, words: Words) -> None:
    """Writes the last section of a note anew."""
    kept, _, _ = path.read_text(encoding="utf-8").rpartition("## ")
    path.write_text(kept + _section(words), encoding="utf-8")


def _section(words: Words) -> str:
    return f"## {words.line(4)}\n\n{words.line(WORDS_A_SECTION)}\n"
