"""A reader of bash: which quoting stands around each place in a command where a value will be put.

It knows as much of the grammar as bears on that, and knows when it does not know: what it cannot follow it
trusts with harmless letters only. The grammar is that of the Bash Reference Manual, 3.1.2 (quoting), 3.2
(commands), 3.5 (expansions) and 3.6 (redirections); what bash really does was found by running it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from mlrun.resolve import programs, spots
from mlrun.resolve.spots import HOLE, Spot, within
from mlrun.value import draft, field, positional_value, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DEEPEST = 40
_SPLIT_OPERATOR = r"\$(?:\\\n)+|[<>(](?:\\\n)+[<(]|<<(?:\\\n)+-"
"""An operator on two lines, which the reader does not put together again."""


@positional_value
class Reading:
    """What was understood of a command; `appendable` if a word at its end joins its last command."""

    spots: tuple[Spot, ...]
    appendable: bool


def read(text: str) -> Reading:
    """Find the spot of every `HOLE` in a bash command."""
    reading = _read(text, depth=0)
    found = reading.spots
    if programs.feeds_a_shell(text):
        found = tuple(spots.as_program(spot) for spot in found)
    if programs.evaluates_variables(text):
        found = tuple(spots.without_subscript(spot) for spot in found)
    return Reading(found, reading.appendable)


def _read(text: str, *, depth: int) -> Reading:
    reader = _Reader(text, depth=depth)
    try:
        if re.search(_SPLIT_OPERATOR, text):
            raise _Lost
        appendable = reader.commands()
    except _Lost:
        return Reading((spots.UNSURE,) * text.count(HOLE), appendable=True)
    return Reading(tuple(reader.spots), appendable)


class _Lost(Exception):  # noqa: N818  not an error: the reader knows that it does not know
    """The text is not what the reader understands."""


@draft
class _Frame:
    """A list of commands being read: the words of the present one without quotes, and what is due.

    Words that only introduce a command (`then`, `A=1`) are not counted, so that no words means that a
    command's name comes next.
    """

    words: list[str] = field(default_factory=list)
    documents: list[_HereDocument] = field(default_factory=list)
    cases: int = 0
    prefixed: bool = False  # `A=1` or `>file` came before, behind which there are no keywords
    target: Literal["", "file", "text"] = ""  # the next word is that of a redirection
    closed: bool = False

    def start(self) -> None:
        self.words, self.closed, self.prefixed, self.target = [], False, False, ""


@positional_value
class _HereDocument:
    delimiter: str
    literal: bool
    tabs: bool
    words: list[str]


@draft
class _Word:
    """A word being read: where it starts, and its text without quotes and expansions."""

    start: int
    naming: bool = False  # the name of a command, or a word of `[[`
    plain: str = ""
    opaque: bool = False  # there were expansions
    splits: bool = False  # there were some outside of quotes, which can make several words of it

    @property
    def noted(self) -> str:
        """As `programs` wants it: one that expansions alone make up may come to nothing."""
        return self.plain or (programs.VANISHING if self.opaque else "''")


_META = frozenset(" \t\n;&|()<>")
_CLOSERS = frozenset({"fi", "done", "esac", "}"})
_NUMERIC_TESTS = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v", "-R"})
_ASSIGNMENT = r"(?s:\w+(?:\[.*\])?\+?=)"
_SUBSCRIPT = r"(?s:\w+\[.*\])"
_MAY_REDIRECT = frozenset("<>\\\0" + "0123456789")
_REDIRECTED = r"(?:[\d\0]|\\\n)*[<>]"
_INTRODUCERS = frozenset({"if", "then", "elif", "else", "do", "while", "until", "!", "{", "time", "coproc"})


class _Reader:
    """Reads a text once from left to right; `spots` are those of the holes passed."""

    def __init__(self, text: str, *, depth: int = 0) -> None:
        self.text = text
        self.at = 0
        self.depth = depth
        self.spots: list[Spot] = []
        self.name_end = -1  # where a `$NAME` ended, for a hole that touches it
        self.waiting = 0  # here-documents due in the frames around this one

    # Commands, and what may stand between words

    def commands(self, closing: str = "") -> bool:
        """Read commands up to `closing` or the end; true if another word could join the last command."""
        self._enter()
        frame = _Frame()
        while self.at < len(self.text):
            if self.text[self.at] == ")" and closing and not frame.cases:
                self.at += 1
                break
            self._command_part(frame)
        else:
            if closing:
                raise _Lost
        if frame.documents or frame.cases:
            raise _Lost
        self.depth -= 1
        return bool(frame.words) and not frame.closed and not self.text.endswith("&")

    def _enter(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _Lost

    def _command_part(self, frame: _Frame) -> None:
        char = self.text[self.at]
        if char in " \t":
            self.at += 1
        elif self.text.startswith("\\\n", self.at):
            self.at += 2
        elif char == "#":
            self._comment(frame)
        elif char in "\n;&|":
            self._separator(frame)
        elif char in "()":
            self._parenthesis(frame)
        elif char in "<>" and not self._at_process():
            self._redirection(frame)
        else:
            self._command_word(frame)

    def _comment(self, frame: _Frame) -> None:
        while self.at < len(self.text) and self.text[self.at] != "\n":
            if self.text[self.at] == HOLE:
                self.spots.append(spots.COMMENT)
            self.at += 1
        frame.closed = True

    def _separator(self, frame: _Frame) -> None:
        char = self.text[self.at]
        self.at += 1
        if char == "&" and self.text.startswith(">", self.at):
            return
        frame.start()
        if char == "\n":
            if self.waiting:
                raise _Lost
            self._here_documents(frame)

    def _parenthesis(self, frame: _Frame) -> None:
        self.at += 1
        if self.text[self.at - 1] == ")":
            if not frame.cases:
                raise _Lost
            frame.start()
        elif self._is_arithmetic():
            self.at += 1
            self._arithmetic("))")
            frame.closed = True
        else:
            self._nested(frame)
            frame.start()
            frame.closed = True

    def _nested(self, frame: _Frame | None = None) -> None:
        due = len(frame.documents) if frame else 0
        self.waiting += due
        self.commands(")")
        self.waiting -= due

    def _redirection(self, frame: _Frame) -> None:
        if frame.words and frame.words[-1].isdigit() and self.text[self.at - 1].isdigit():
            frame.words.pop()
        frame.prefixed = True
        if self.text.startswith("<<<", self.at):
            self.at += 3
            frame.target = "text"
        elif self.text.startswith("<<", self.at):
            self._here_document(frame)
        else:
            self.at += 1
            while self.text[self.at : self.at + 1] in {">", "&", "|"}:
                self.at += 1
            frame.target = "file"

    # Here-documents

    def _here_document(self, frame: _Frame) -> None:
        match = re.compile(r"<<(-?)[ \t]*").match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        word, first = _Word(self.at), len(self.spots)
        self._word_pieces(word)
        raw = self.text[word.start : self.at]
        self.spots[first:] = [spots.DELIMITER] * raw.count(HOLE)
        if "`" in raw or "$" in raw or not word.plain:
            raise _Lost
        literal = raw != word.plain
        frame.documents.append(_HereDocument(word.plain, literal, bool(match[1]), frame.words))

    def _here_documents(self, frame: _Frame) -> None:
        for document in frame.documents:
            body = self._body(document)
            found, text = self._document_spots(body, document)
            found = self._as_program(found, programs.evaluated_input(document.words), text)
            self.spots += [
                _guarded(spot, document, *lines)
                for spot, lines in zip(found, _around(body, document), strict=True)
            ]
        frame.documents = []

    def _body(self, document: _HereDocument) -> str:
        start, continued = self.at, False
        while self.at < len(self.text):
            end = self.text.find("\n", self.at)
            line_start, self.at = self.at, (len(self.text) if end < 0 else end + 1)
            line = self.text[line_start : self.at].removesuffix("\n")
            if not continued and (line.lstrip("\t") if document.tabs else line) == document.delimiter:
                return self.text[start:line_start]
            continued = not document.literal and re.search(_CONTINUED, line) is not None
        raise _Lost

    def _document_spots(self, body: str, document: _HereDocument) -> tuple[list[Spot], str | None]:
        """The spots of a body, and the text that the command will read, where that is known."""
        if document.literal:
            return [spots.LITERAL] * body.count(HOLE), body
        reader = _Reader(body, depth=self.depth)
        word = reader.here_text()
        return reader.spots, None if word.opaque else word.plain

    def here_text(self) -> _Word:
        """Read the body of a here-document in which expansions live."""
        word = _Word(0)
        while self.at < len(self.text):
            self._double_piece(word, spots.HERE_DOCUMENT, special="$`\\")
        return word

    # Words

    def _command_word(self, frame: _Frame) -> None:
        target, frame.target = frame.target, ""
        word, first = _Word(self.at, naming=not frame.words and not target), len(self.spots)
        self._word_pieces(word, frame)
        raw = self.text[word.start : self.at]
        if word.naming and re.match(r"\w+\[", raw) and raw.count("[") != raw.count("]"):
            raise _Lost  # a subscript goes on to its `]`, over blanks and operators
        if word.naming and word.splits and not re.match(_ASSIGNMENT, raw):
            self._narrow(first, spots.as_shell_text)  # `$(echo {x})` runs what it says
        if target != "file" and len(self.spots) > first:
            program = programs.evaluated_input(frame.words) if target else programs.evaluated(frame.words)
            found = self._as_program(self.spots[first:], program, None if word.opaque else word.plain)
            self.spots[first:] = _as_names(found, frame.words, raw)
        if not target:
            self._count(word, raw, frame)

    def _word_pieces(self, word: _Word, frame: _Frame | None = None) -> None:
        while self.at < len(self.text):
            if self._at_process():
                word.opaque = True
                self.at += 2
                self._nested(frame)
            elif self.text[self.at] in _META:
                break
            else:
                self._piece(word)
                if frame and self.text.startswith("(", self.at) and self.text[self.at - 1] == "=":
                    self._array()

    def _at_process(self) -> bool:
        """Whether a process substitution begins; it is part of a word, like any expansion."""
        return self.text.startswith(("<(", ">("), self.at)

    def _array(self) -> None:
        """Read the words of `name=(…)`, among which no operator may stand."""
        self.at += 1
        while not self.text.startswith(")", self.at):
            char = self.text[self.at : self.at + 1]
            if char and char in " \t\n":
                self.at += 1
            elif not char or char in _META or char in "#[":
                raise _Lost
            else:
                self._word_pieces(_Word(self.at, naming=True))
        self.at += 1

    def _count(self, word: _Word, raw: str, frame: _Frame) -> None:
        """Note a word that was read, and what it means for those to come."""
        if not frame.words and re.match(_ASSIGNMENT, raw):
            frame.prefixed = True
        elif frame.words or frame.prefixed:
            frame.words.append(word.noted)
        elif raw == "[[":
            self._test()
            frame.words.append(raw)
            frame.closed = True
        elif raw in _CLOSERS:
            frame.closed = True
            frame.cases -= raw == "esac"
        elif raw not in _INTRODUCERS:
            frame.cases += raw == "case"
            frame.words.append(word.noted)

    def _as_program(self, found: list[Spot], runs: programs.Runs, text: str | None) -> list[Spot]:
        """Spots in a word or document that some program runs, whose text is None where it is not known."""
        if not runs or not found:
            return found
        alone = text is not None and text.strip() == HOLE
        if alone and runs == "language":
            return found  # the project asks for a program, and gets it
        if alone or runs == "language":
            return [spots.as_program(spot) for spot in found]
        if text is not None and runs == "shell":
            inner = _read(text, depth=self.depth).spots
            if len(inner) == len(found):
                return [within(*pair) for pair in zip(found, inner, strict=True)]
        return [spots.as_shell_text(spot) for spot in found]

    def _test(self) -> None:
        """Read `[[ … ]]`, in which numeric operators evaluate their operands."""
        operator, previous = "", range(0)
        while True:
            self._skip_in_test()
            word, first = _Word(self.at, naming=True), len(self.spots)
            self._word_pieces(word)
            if self.text[word.start : self.at] == "]]":
                return
            here = range(first, len(self.spots))
            for index in here if operator else ():
                self.spots[index] = spots.NAME if operator in {"-v", "-R"} else spots.NUMERAL
            operator = word.plain if word.plain in _NUMERIC_TESTS else ""
            for index in previous if operator else ():
                self.spots[index] = spots.NUMERAL
            previous = here

    def _skip_in_test(self) -> None:
        while self.text[self.at : self.at + 1] in _META:
            if self._at_process() or self.text[self.at] == ";":
                raise _Lost
            self.at += 1
        if self.at >= len(self.text):
            raise _Lost

    # Pieces of a word

    def _piece(self, word: _Word) -> None:
        char = self.text[self.at]
        if char == "\\":
            self._backslash(word)
        elif char == "'":
            self._single(word)
        elif char == '"':
            self._double(word)
        elif char == "$":
            self._dollar(word, quoted=False)
        elif char == "`":
            self._backquotes(word)
        else:
            if char == HOLE:
                self.spots.append(self._bare(word))
            word.plain += char
            self.at += 1

    def _bare(self, word: _Word) -> Spot:
        before, at = self.text[word.start : self.at], self.at + 1
        following = self.text[at : at + 1]
        if self.name_end == self.at:
            return spots.QUOTED  # `$HOME{x}`
        if following and following in _MAY_REDIRECT and re.compile(_REDIRECTED).match(self.text, at):
            return spots.QUOTED  # `{x}>file`, where a digit would name a stream
        if not word.naming:
            return spots.CAREFUL if "{" in before else spots.BARE
        whole = not before and (not following or following in _META)
        assigned = re.compile(r"[\w\0]*(?:\+?=|\[)").match(self.text, at)
        return spots.CAREFUL if whole or assigned or "/" in before else spots.QUOTED

    def _backslash(self, word: _Word) -> None:
        following = self.text[self.at + 1 : self.at + 2]
        if following == HOLE:
            self.spots.append(spots.ESCAPED)
            word.plain += "\n" + following
            word.opaque = True
        elif following == "\n":
            self.name_end += 2 * (self.name_end == self.at)
        else:
            word.plain += following
        self.at += 2

    def _single(self, word: _Word) -> None:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise _Lost
        inside = self.text[self.at + 1 : end]
        self.spots += [spots.SINGLE] * inside.count(HOLE)
        word.plain += inside
        self.at = end + 1

    def _double(self, word: _Word) -> None:
        self.at += 1
        while not self.text.startswith('"', self.at):
            self._double_piece(word, spots.DOUBLE)
        self.at += 1

    def _double_piece(self, word: _Word, spot: Spot, *, special: str = '$`"\\') -> None:
        """A character, an expansion or a hole between double quotes."""
        char = self.text[self.at : self.at + 1]
        if not char:
            raise _Lost
        if char == "\\":
            self._backslash_in_double(word, spot, special)
        elif char == "$":
            self._dollar(word, quoted=True, here='"' not in special)
        elif char == "`":
            self._backquotes(word, quoted=True)
        else:
            if char == HOLE:
                touches = self.name_end == self.at
                self.spots.append(spots.after_name(spot) if touches else spot)
            word.plain += char
            self.at += 1

    def _backslash_in_double(self, word: _Word, spot: Spot, special: str) -> None:
        following = self.text[self.at + 1 : self.at + 2]
        self.at += 2
        if following == "\n":
            self.name_end += 2 * (self.name_end == self.at - 2)
            return
        if following == HOLE:
            self.spots.append(spots.after_backslash(spot))
        word.plain += following if following in special else "\\" + following

    def _dollar(self, word: _Word, *, quoted: bool, here: bool = False) -> None:
        """An expansion, from its `$`."""
        word.opaque = True
        word.splits |= not quoted
        self.at += 1
        following = self.text[self.at : self.at + 1]
        if following == "(":
            self._substitution()
        elif following == "{":
            self._parameter(quoted=quoted, here=here)
        elif following == "[":
            self.at += 1
            self._arithmetic("]")
        elif following == "'" and not quoted:
            self._dollar_single()
        elif following == '"' and not quoted:
            self._double(word)
        elif following == HOLE:
            self.spots.append(spots.AFTER_DOLLAR)
            self.at += 1
        elif match := re.compile(r"[A-Za-z_]\w*", re.ASCII).match(self.text, self.at):
            self.at = self.name_end = match.end()
            word.plain += "$SHELL" if match[0] in {"SHELL", "BASH"} else ""
        elif following and following in "0123456789@*#?$!-":
            self.at += 1

    def _dollar_single(self) -> None:
        self.at += 1
        while (char := self.text[self.at : self.at + 1]) != "'":
            if not char:
                raise _Lost
            if char == HOLE:
                self.spots.append(spots.DOLLAR_SINGLE)
            elif char == "\\":
                self.at += 1
                if self.text.startswith(HOLE, self.at):
                    self.spots.append(spots.AFTER_ESCAPE)
                elif re.compile(r"(?:x[\da-fA-F]?|[0-7]{1,2}|u[\da-fA-F]{0,3}|U[\da-fA-F]{0,7}|c)\0").match(
                    self.text, self.at
                ):
                    raise _Lost
            self.at += 1
        self.at += 1

    def _substitution(self) -> None:
        self.at += 1
        if self._is_arithmetic():
            self.at += 1
            self._arithmetic("))")
        else:
            self.commands(")")

    def _backquotes(self, word: _Word, *, quoted: bool = False) -> None:
        """Text in backquotes is freed of one layer of backslashes, then read as commands."""
        match = re.compile(r"`((?:[^`\\]|\\.)*)`", re.DOTALL).match(self.text, self.at)
        if match is None:
            raise _Lost
        freed = '$`\\"' if quoted else "$`\\"
        raw = match[1]
        inner = re.sub(r"\\(.)", lambda it: it[1] if it[1] in freed else it[0], raw, flags=re.DOTALL)
        escaped = [it[0] != HOLE for it in re.finditer(r"\\.|\0", raw, re.DOTALL) if it[0].endswith(HOLE)]
        self._enter()
        for spot, after_backslash in zip(_read(inner, depth=self.depth).spots, escaped, strict=True):
            outer = spots.after_backslash(spots.BACKQUOTES) if after_backslash else spots.BACKQUOTES
            spot = within(outer, spot)
            self.spots.append(spots.in_nested_quotes(spot) if quoted else spot)
        self.depth -= 1
        word.opaque = True
        word.splits |= not quoted
        self.at = match.end()

    # Expansions

    def _parameter(self, *, quoted: bool, here: bool) -> None:
        """`${…}`, in which only the word of `${name:-word}` and its like takes any value."""
        self._enter()
        match = re.compile(r"\{[!#]?(?:[A-Za-z_]\w*|\d+|[@*#?$!-])?").match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        operator = re.compile(r":?[-+?]").match(self.text, self.at)
        if operator and not match[0].startswith(("{!", "{#")) and not here:
            self.at = operator.end()
            self._expansion_word(spots.DOUBLE_EXPANSION if quoted else spots.QUOTED, quoted=quoted)
        else:
            first = len(self.spots)
            self._expansion_word(spots.NAME, quoted=quoted)
            self._narrow(first, spots.as_name)
        self.depth -= 1

    def _expansion_word(self, spot: Spot, *, quoted: bool) -> None:
        word, first = _Word(self.at), len(self.spots)
        while (char := self.text[self.at : self.at + 1]) != "}":
            if not char or (quoted and char == "'"):
                raise _Lost
            if not quoted and char in _META:
                raise _Lost  # it may become several words: a command and what it evaluates
            if char == HOLE and not quoted:
                self.spots.append(spot)
                self.at += 1
            elif quoted and char != '"':
                self._double_piece(word, spot, special='$`"\\}')
            else:
                self._piece(word)
                if quoted:
                    self._narrow(first, spots.in_nested_quotes)
        self.at += 1

    def _narrow(self, first: int, narrow: Callable[[Spot], Spot]) -> None:
        self.spots[first:] = [narrow(spot) for spot in self.spots[first:]]

    def _is_arithmetic(self) -> bool:
        """Whether the second `(` follows and both are closed together, which is how bash tells."""
        if not self.text.startswith("(", self.at):
            return False
        depth = 2
        for match in re.compile(_PARENTHESES).finditer(self.text, self.at + 1):
            depth += {"(": 1, ")": -1}.get(match[0], 0)
            if depth == 1:
                return self.text.startswith(")", match.end())
            if match[0] == "$'":
                break
        raise _Lost

    def _arithmetic(self, closing: str) -> None:
        """Read an expression, from inside its opening."""
        self._enter()
        opened, word = 0, _Word(self.at)
        depth = {"(": 1, ")": -1} if closing == "))" else {"[": 1, "]": -1}
        while opened or not self.text.startswith(closing, self.at):
            char = self.text[self.at : self.at + 1]
            opened += depth.get(char, 0)
            if not char or char in "'\"\\":
                raise _Lost
            if char == "$":
                self._dollar_in_arithmetic(word)
            elif char == "`":
                self._backquotes(word, quoted=True)
            else:
                if char == HOLE:
                    touches = self.name_end == self.at
                    self.spots.append(spots.after_name(spots.NUMERAL) if touches else spots.ARITHMETIC)
                self.at += 1
        self.at += len(closing)
        self.depth -= 1

    def _dollar_in_arithmetic(self, word: _Word) -> None:
        is_parameter, first = self.text.startswith("${", self.at), len(self.spots)
        self._dollar(word, quoted=True)
        if is_parameter and len(self.spots) > first:
            raise _Lost


_PARENTHESES = r"(?s:\\.|\$'|'[^']*'|\"(?:[^\"\\]|\\.)*\"|[()])"


def _as_names(found: list[Spot], words: Sequence[str], raw: str) -> list[Spot]:
    """Spots in a word that bash takes for a name, or in a subscript of it, which is arithmetic."""
    if words[:1] == ["let"]:
        return [spots.NUMERAL] * len(found)
    subscript = re.match(_SUBSCRIPT, raw) if not words else None
    named = subscript[0].count(HOLE) if subscript else 0
    if programs.takes_names(words):
        named = raw.partition("=")[0].count(HOLE)
    return [spots.as_name(spot) for spot in found[:named]] + found[named:]


def _around(body: str, document: _HereDocument) -> list[tuple[str, str]]:
    """What stands before and after each hole on its line."""
    if not document.literal:
        body = body.replace("\\\n", "")
    holes = [match.start() for match in re.finditer(HOLE, body)]
    return [(body[body.rfind("\n", 0, at) + 1 : at], body[at + 1 :].partition("\n")[0]) for at in holes]


def _guarded(spot: Spot, document: _HereDocument, before: str, after: str) -> Spot:
    """Refuse a value that would make the line that ends its here-document, or join lines of it."""

    def admits(value: str) -> bool:
        if not spot.admits(value):
            return False
        text = before + spot.write(value) + after
        joined = not document.literal and re.search(_CONTINUED, text)
        return not joined and not any(_could_end(line, document) for line in text.split("\n"))

    return replace(spot, admits=admits, reason=spot.reason or "would end the here-document that it stands in")


_CONTINUED = r"(?<!\\)(?:\\\\)*\\(?:\n|\Z)"
"""A line's end that bash takes away as it reads a here-document, whatever quotes stand around it."""


def _could_end(line: str, document: _HereDocument) -> bool:
    line = line.lstrip("\t")
    if HOLE not in line:
        return line == document.delimiter or line.startswith(f"{document.delimiter})")
    pattern = ".*".join(re.escape(part) for part in line.split(HOLE))
    return re.fullmatch(pattern, document.delimiter) is not None
