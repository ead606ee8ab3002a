"""Text of others (names, paths, values) made harmless in what is read as markup."""

from __future__ import annotations

import re


def visible(text: str) -> str:
    """One line, in which control characters, line ends and marks of direction are written out."""
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)


def in_markdown(text: str) -> str:
    """One line of Markdown in which nothing is markup, nor HTML, nor the end of a table's cell."""
    line = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|~#@])", r"\\\1", line)


def in_html(text: str) -> str:
    """The same for HTML, in elements and in quoted attributes."""
    import html

    return html.escape(visible(text), quote=True)
