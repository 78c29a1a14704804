"""HTML: the pages of the intranet, and the markup that the PDF builder lays out."""

from __future__ import annotations

from html import escape

from examples.builders.source import Block, Source, spans

_PAGE = """<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<title>{title}</title>
<meta name="author" content="{author}">
<meta name="date" content="{day}">
<style>
body {{ font-family: Arial, sans-serif; max-width: 46rem; margin: 2rem auto; color: #222; line-height: 1.5; }}
header, footer {{ color: #5a6b7b; font-size: .85rem; }}
h1, h2 {{ color: #12385b; }}
table {{ border-collapse: collapse; }}
td, th {{ border: 1px solid #b9c4ce; padding: .3rem .6rem; text-align: left; }}
</style>
</head>
<body>
<header>Hansekai Intranet</header>
<main>
{body}
</main>
<footer>{author} · {day}</footer>
</body>
</html>
"""


def page(source: Source) -> bytes:
    """The whole HTML page of a document, UTF-8."""
    text = _PAGE.format(
        language=source.language,
        title=escape(source.title),
        author=escape(source.author),
        day=source.moment.date().isoformat(),
        body=markup(source.blocks),
    )
    return text.encode()


def markup(blocks: tuple[Block, ...]) -> str:
    """The blocks as HTML elements, one a line."""
    return "\n".join(_element(block) for block in blocks)


def _element(block: Block) -> str:
    match block.kind:
        case "heading":
            return f"<h{block.level}>{_inline(block.text)}</h{block.level}>"
        case "list":
            return f"<ul>{_items(block)}</ul>"
        case "numbered":
            return f"<ol>{_items(block)}</ol>"
        case "table":
            return _table(block.rows)
        case "note":
            return f'<p class="note">{_inline(block.text)}</p>'
        case "lines":
            return f"<p>{'<br>'.join(map(_inline, block.lines))}</p>"
        case _:
            return f"<p>{_inline(block.text)}</p>"


def _items(block: Block) -> str:
    return "".join(f"<li>{_inline(line)}</li>" for line in block.lines)


def _table(rows: tuple[tuple[str, ...], ...]) -> str:
    head = "".join(f"<th>{_inline(cell)}</th>" for cell in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{_inline(cell)}</td>' for cell in row)}</tr>" for row in rows[1:])
    return f"<table><tr>{head}</tr>{body}</table>"


def _inline(text: str) -> str:
    return "".join(f"<b>{escape(piece)}</b>" if bold else escape(piece) for piece, bold in spans(text))
