"""Many runs side by side: as a table that fits the terminal, CSV, Markdown, HTML, JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.views import table, words
from mlrun.views.markup import in_html, in_markdown

if TYPE_CHECKING:
    from mlrun.comparison import Cell, Column, Comparison, Row

_BEST = "*"
_SHARED_SHOWN = 8
_RUN = "run"


def lines(found: Comparison, *, width: int | None = None) -> list[list[str]]:
    """Blocks of aligned lines, headings first; more than one where the columns do not fit in `width`."""
    names = [_name(row) for row in found.rows]
    texts = [[_text(cell) + _BEST * cell.best for cell in row.cells] for row in found.rows]
    right = [_is_number(found, at) for at in range(len(found.columns))]
    return [
        table.aligned(
            [_RUN, *(_heading(found.columns[at]) for at in chosen)],
            [[name, *(row[at] for at in chosen)] for name, row in zip(names, texts, strict=True)],
            right=frozenset(place + 1 for place, at in enumerate(chosen) if right[at]),
        )
        for chosen in _fitting(found, names, texts, width)
    ]


def _fitting(
    found: Comparison, names: list[str], texts: list[list[str]], width: int | None
) -> list[list[int]]:
    """The columns of each block: as many as fit beside the names, one at least."""
    if not found.columns:
        return [[]]
    if width is None:
        return [list(range(len(found.columns)))]
    start = _widest([_RUN, *names])
    blocks: list[list[int]] = []
    used = width + 1
    for at, column in enumerate(found.columns):
        wanted = 2 + _widest([_heading(column), *(row[at] for row in texts)])
        if used + wanted > width:
            blocks.append([])
            used = start
        blocks[-1].append(at)
        used += wanted
    return blocks


def _widest(texts: list[str]) -> int:
    return min(40, max(map(table.width, texts)))


def remarks(found: Comparison) -> list[str]:
    """What stands beside the table: the mark, what all share."""
    said = []
    if any(cell.best for row in found.rows for cell in row.cells):
        said.append(f"{_BEST} the best of its column")
    if found.grouped_by:
        said.append(
            f"{words.plural(found.runs, 'run')} in {words.plural(len(found.rows), 'group')}; mean ± sd"
        )
    same = [_shared(key, text) for key, text in found.shared if key.startswith(("params.", "metrics."))]
    if same and found.runs > 1:
        more = f", and {len(same) - _SHARED_SHOWN} more" if len(same) > _SHARED_SHOWN else ""
        said.append("the same in all: " + ", ".join(same[:_SHARED_SHOWN]) + more)
    return said


def _shared(key: str, text: str) -> str:
    kind, _, name = key.partition(".")
    return f"{name} = {words.number(float(text)) if kind == 'metrics' else text}"


def _name(row: Row) -> str:
    run_id, name = row.runs[0]
    return f"{name} {run_id[:8]}" if len(row.runs) == 1 else words.plural(len(row.runs), "run")


def _heading(column: Column) -> str:
    return column.name.replace("_", " ") if column.kind == "fact" else column.name


def _text(cell: Cell) -> str:
    if cell.number is None:
        return cell.text or ""
    if cell.sd is None:
        return words.number(cell.number)
    return f"{words.number(cell.number)} ± {cell.sd:.2g}"


def _is_number(found: Comparison, at: int) -> bool:
    if found.columns[at].kind == "metrics":
        return True
    texts = [row.cells[at].text for row in found.rows]
    return found.columns[at].kind == "params" and all(text is None or _is_float(text) for text in texts)


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# --- for machines -------------------------------------------------------------------------------------


def comma_separated(found: Comparison) -> str:
    """CSV with all digits; of groups, each metric with its standard deviation and count."""
    headers = ["runs", "ids", "names"]
    for column in found.columns:
        headers.append(column.key)
        if found.grouped_by and column.kind == "metrics":
            headers += [f"{column.key}.sd", f"{column.key}.count"]
    return table.comma_separated(headers, [_exact(found, row) for row in found.rows])


def _exact(found: Comparison, row: Row) -> list[str]:
    cells = [str(len(row.runs)), " ".join(row.ids), " ".join(name for _, name in row.runs)]
    for column, cell in zip(found.columns, row.cells, strict=True):
        cells.append(repr(cell.number) if cell.number is not None else cell.text or "")
        if found.grouped_by and column.kind == "metrics":
            cells += ["" if cell.sd is None else repr(cell.sd), str(cell.count)]
    return cells


def as_json(found: Comparison) -> dict[str, object]:
    """All of it, by stable names."""
    return {
        "schema": "mlrun/compare/v1",
        "runs": found.runs,
        "group_by": list(found.grouped_by),
        "columns": [
            {
                "key": column.key,
                "kind": column.kind,
                "name": column.name,
                "better": {-1: "lower", 1: "higher"}.get(column.better),
            }
            for column in found.columns
        ],
        "shared": dict(found.shared),
        "rows": [_row_as_json(found, row) for row in found.rows],
    }


def _row_as_json(found: Comparison, row: Row) -> dict[str, object]:
    cells: dict[str, object] = {}
    for column, cell in zip(found.columns, row.cells, strict=True):
        if column.kind == "metrics":
            cells[column.key] = {"value": cell.number, "sd": cell.sd, "count": cell.count, "best": cell.best}
        else:
            cells[column.key] = cell.text
    return {"runs": [{"id": run_id, "name": name} for run_id, name in row.runs], "cells": cells}


# --- for documents ------------------------------------------------------------------------------------


def markdown(found: Comparison) -> str:
    """A table for a pull request; the best of a column is bold."""
    headings = [_RUN, *(in_markdown(_heading(column)) for column in found.columns)]
    rules = ["---", *("---:" if _is_number(found, at) else "---" for at in range(len(found.columns)))]
    rows = [headings, rules]
    for row in found.rows:
        cells = [in_markdown(_text(cell)) for cell in row.cells]
        marked = [f"**{text}**" if cell.best else text for cell, text in zip(row.cells, cells, strict=True)]
        rows.append([in_markdown(_name(row)), *marked])
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
    said = [in_markdown(remark) for remark in remarks(found) if not remark.startswith(_BEST)]
    return text + "".join(f"\n{remark}\n" for remark in said)


_STYLE = """body{font:14px/1.45 system-ui,sans-serif;margin:2rem;color:#222;background:#fff}
table{border-collapse:collapse}th,td{padding:.3rem .8rem;border-bottom:1px solid #ddd;text-align:left}
th{position:sticky;top:0;background:#fff;border-bottom:2px solid #888}
.n{text-align:right;font-variant-numeric:tabular-nums}.best{font-weight:700;background:#e6f4e6}
.id{color:#777;font-family:monospace}p{color:#555}
@media(prefers-color-scheme:dark){body,th{background:#181818;color:#ddd}.best{background:#234023}
th,td{border-color:#444}}"""


def page(found: Comparison) -> str:
    """One HTML file that needs no other; it holds no script, and a browser is told to run none."""
    numbers = [_is_number(found, at) for at in range(len(found.columns))]
    heads = "".join(
        f"<th{' class=n' * number}>{in_html(_heading(column))}</th>"
        for column, number in zip(found.columns, numbers, strict=True)
    )
    rows = "\n".join(_html_row(row, numbers) for row in found.rows)
    said = "".join(f"<p>{in_html(remark)}</p>\n" for remark in remarks(found) if not remark.startswith(_BEST))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>mlrun compare: {words.plural(found.runs, 'run')}</title>\n<style>{_STYLE}</style></head>\n"
        f"<body><h1>{words.plural(found.runs, 'run')}</h1>\n<table>\n"
        f"<thead><tr><th>{_RUN}</th>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>\n{said}</body></html>\n"
    )


def _html_row(row: Row, numbers: list[bool]) -> str:
    if len(row.runs) == 1:
        run_id, name = row.runs[0]
        first = (
            f'<td title="{in_html(run_id)}">{in_html(name)} <span class=id>{in_html(run_id[:8])}</span></td>'
        )
    else:
        names = in_html(", ".join(name for _, name in row.runs))
        first = f'<td title="{names}">{words.plural(len(row.runs), "run")}</td>'
    cells = []
    for cell, number in zip(row.cells, numbers, strict=True):
        classes = " ".join([*(["n"] if number else []), *(["best"] if cell.best else [])])
        cells.append(f'<td class="{classes}">{in_html(_text(cell))}</td>')
    return f"<tr>{first}{''.join(cells)}</tr>"
