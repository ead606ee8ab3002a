"""How projects ask for a Python: as people, conda, Poetry and Heroku write it, brought to one form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun.errors import ProjectError
from mlrun.pattern import pattern

if TYPE_CHECKING:
    from mlrun.model import Place

_NAME = pattern(r"^(c?python)?\s*-?(?=[\d=<>~!^*]|$)", re.IGNORECASE)
_VERSION = pattern(r"\d+(\.\d+){0,2}")
_CLAUSE = pattern(r"(~=|===?|!=|<=|>=|<|>)\s*\d+(\.\d+)*(\.\*)?((a|b|rc)\d+)?")


def normal_python(text: str, place: Place | None = None) -> str | None:
    """A version (`3`, `3.10`, `3.10.12`) or a specifier (`>=3.9,<4`); None where any Python will do.

    Raises ProjectError (`bad-python-version`).
    """
    if not text.strip("0123456789.") and _VERSION.fullmatch(text):
        return text
    wanted = _NAME.sub("", text.strip().strip("\"'"), count=1).strip()
    wanted = re.sub(r"^(=?=?\s*[\d.*]+)=[^=,]*$", r"\1", wanted)  # conda's build string: 3.7.13=h12debd9_0
    wanted = re.sub(r"^={1,2}\s*(?=\d)", "", wanted)
    wanted = re.sub(r"(\.[*xX])+$", "", wanted) if not re.search(r"[<>~!,]", wanted) else wanted
    if wanted in ("", "*", "latest"):
        return None
    if _VERSION.fullmatch(wanted):
        return wanted
    if caret := re.fullmatch(r"\^\s*(\d+)(\.\d+)*", wanted):
        return f">={wanted[1:].strip()},<{int(caret[1]) + 1}"
    clauses = [clause.strip() for clause in wanted.split(",") if clause.strip()]
    if clauses and all(_CLAUSE.fullmatch(clause) for clause in clauses):
        return ",".join(clause.replace(" ", "") for clause in clauses)
    raise ProjectError(
        f"`{text}` is no version of Python",
        place=place,
        hint='`"3.11"`, `"3.10.12"` or `">=3.9,<3.12"`',
        code="bad-python-version",
    )
