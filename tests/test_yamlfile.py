"""YAML as nodes with places: what is read, what is refused, and how it is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrun import yamlfile
from mlrun.errors import ParameterError, ProjectError
from mlrun.model import Place
from mlrun.yamlfile import (
    MapNode,
    Node,
    Scalar,
    as_text,
    closest,
    is_null,
    load,
    load_texts,
    parse,
    plain,
    quoted,
    read,
)

if TYPE_CHECKING:
    from pathlib import Path


def root(text: str | bytes) -> Node:
    node = parse(text, file="f.yaml").root
    assert node is not None
    return node


def value(text: str) -> Node:
    """The node of a value, as it is read after a key."""
    node = root(f"key: {text}\n")
    assert isinstance(node, MapNode)
    return node.entries[0][1]


def refusal(text: str | bytes) -> ProjectError:
    with pytest.raises(ProjectError) as caught:
        parse(text, file="f.yaml")
    return caught.value


# --- nodes --------------------------------------------------------------------------------------------


def test_every_node_has_its_place_and_its_own_text() -> None:
    node = root("a: 3.10\nb:\n  - yes\n")
    assert isinstance(node, MapNode)
    (key, number), (_, items) = node.entries
    assert key == Scalar(Place(file="f.yaml", line=1, column=1), "a")
    assert number == Scalar(Place(file="f.yaml", line=1, column=4), "3.10", "float")
    assert items.place == Place(file="f.yaml", line=3, column=3)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n...\n"])
def test_a_file_may_hold_nothing(text: str) -> None:
    node = parse(text, file="f.yaml").root
    assert node is None or is_null(node)


def test_anchors_and_merges_are_followed() -> None:
    text = "base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3, z: 4}\nmany: {<<: [{x: 9}, *b]}\n"
    assert plain(root(text)) == {
        "base": {"x": 1, "y": 2},
        "own": {"x": 1, "y": 3, "z": 4},
        "many": {"x": 9, "y": 2},
    }


def test_a_doubled_key_is_noticed_and_the_last_one_counts() -> None:
    document = parse("a: 1\nb: {c: 1, c: 2}\na: 3\n", file="f.yaml")
    assert document.root is not None
    assert plain(document.root) == {"a": 3, "b": {"c": 2}}
    assert [f"{it.place} {it.message}" for it in document.findings] == [
        "f.yaml:2:11 `c` is written twice (first in line 2); the last one counts",
        "f.yaml:3:1 `a` is written twice (first in line 1); the last one counts",
    ]


_SAFE: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(_SAFE)
def test_plain_values_are_those_of_the_safe_loader(data: Any) -> None:
    text = yaml.safe_dump(data, allow_unicode=True)
    node = parse(text, file="f.yaml").root
    assert node is not None
    assert plain(node) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", "True"),
        ("off", "False"),
        ("'yes'", "yes"),
        ("0.50", "0.5"),
        ("1.0e-1", "0.1"),
        ("1e-1", "1e-1"),
        ("010", "8"),
        ("1_000", "1000"),
        ("1:30", "90"),
        ("0x1F", "31"),
        ("0x_", "0x_"),
        (".inf", "inf"),
        ("~", "None"),
        ('""', ""),
        ("[1, 2]", "[1, 2]"),
        ("[a, 0.50, null]", "['a', 0.5, None]"),
        ("{a: 1}", "{'a': 1}"),
        ("2024-02-01", "2024-02-01"),
        ("2024-02-31", "2024-02-31"),
        ("!!timestamp soon", "soon"),
        ("=", "="),
        ("!!str 5", "5"),
        ("! 5", "5"),
        ("9" * 5000, "9" * 5000),
        ("0x" + "f" * 5000, "0x" + "f" * 5000),
    ],
)
def test_text_is_what_python_makes_of_the_value(text: str, expected: str) -> None:
    assert as_text(value(text)) == expected


# --- refusals -----------------------------------------------------------------------------------------


BRACKETS = "text that starts with `{` or `[` needs quotes"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("a:\n\tb: 1\n c\n", "2:1: a tab cannot indent YAML", "use spaces"),
        ("a: 'x\nb: 1\n", "1:4: this quote is never closed", None),
        (
            "a: b: c\n",
            "1:5: a `key: value` cannot start here",
            "check the indentation; text that holds `: ` needs quotes",
        ),
        ("a: [1, 2\nb: 3\n", "1:4: this `[` is never closed", BRACKETS),
        ("a: {x: 1\nb: 2\n", "1:4: this `{` is never closed", BRACKETS),
        ("a: [", "2:1: a bracket is never closed before here", BRACKETS),
        ("a: @x\n", "1:4: a value cannot start with `@`", "put it in quotes"),
        ('a: "\\d"\n', "1:5: unknown `\\` escape in double quotes", "use single quotes, or write `\\\\`"),
        ("a: 1\nb\n", "2:1: this is neither a `key: value` nor a `- item`", "a key ends in `:`"),
        ("a: - b\n", "1:4: a `- item` cannot start here", "begin the list on the next line"),
        ("a: *b\n", "1:4: no anchor `&b` comes before this", "text that starts with `*` needs quotes"),
        ("a: !b c\n", "1:4: unknown tag `!b`", "text that starts with `!` needs quotes"),
        (
            "a: !!python/name:os.system x\n",
            "1:4: unknown tag `!!python/name:os.system`",
            "text that starts with `!` needs quotes",
        ),
        ("{a}: 1\n", "1:1: expected a key, found a list or a mapping", BRACKETS),
        ("<<: 3\n", "1:5: `<<` takes a mapping or a list of them", None),
        ("a: 1\n---\nb: 2\n", "2:1: a second document starts here; expected one", "remove the line `---`"),
        (
            "a: 1\nb: \x1b\n",
            "2:4: the character U+001B is not allowed in YAML",
            'write it as an escape in double quotes ("\\x1b")',
        ),
        (b"a: 1\nb: \x81\n", "2:4: byte 0x81 is no UTF-8 text", "save the file as UTF-8"),
    ],
)
def test_bad_yaml_is_refused_in_words(text: str | bytes, message: str, hint: str | None) -> None:
    error = refusal(text)
    assert (str(error), error.hint) == (f"f.yaml:{message}", hint)


def test_a_node_that_holds_itself_is_refused() -> None:
    assert str(refusal("a: &x [*x]\n")) == "f.yaml:1:8: `*x` stands inside of what it names"
    assert str(refusal("a: &x {<<: *x}\n")) == "f.yaml:1:12: `*x` stands inside of what it names"


def test_aliases_that_unfold_without_bound_are_refused() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert "more than 100,000 values once its aliases are followed" in refusal("\n".join(lines)).message


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 200_000, "- " * 200_000])
def test_bottomless_nesting_is_refused_and_does_not_crash(text: str) -> None:
    assert "nested more than 100 levels deep" in refusal(text).message


@settings(deadline=None)
@given(st.text() | st.binary())
def test_whatever_the_bytes_there_is_a_document_or_a_refusal(data: str | bytes) -> None:
    try:
        node = parse(data, file="f.yaml").root
    except ProjectError:
        return
    assert node is None or as_text(node) is not None


# --- files --------------------------------------------------------------------------------------------


def test_a_file_is_called_by_the_name_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a: [1")
    with pytest.raises(ProjectError, match=r"^conda\.yaml:1:4: "):
        read(tmp_path / "f", file="conda.yaml")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    for path, code in ((tmp_path / "missing", "no-such-file"), (tmp_path, "unreadable-file")):
        with pytest.raises(ProjectError) as caught:
            read(path)
        assert caught.value.code == code


def test_a_file_larger_than_any_project_file_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / "big", "wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(ProjectError, match="larger than 16 MiB"):
        read(tmp_path / "big")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_are_told_by_the_bytes(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(
        "ä: ö\r\nß: [1]\r\n".encode(encoding) if "16-" not in encoding else "a: ö".encode(encoding)
    )
    assert load(tmp_path / "f") == ({"a": "ö"} if "16-" in encoding else {"ä": "ö", "ß": [1]})


def test_parameters_come_as_the_texts_that_a_default_would_be(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("alpha: 0.50\non: yes\nnone:\nlist: [1, 2]\ntext: '0.50'\n")
    assert load_texts(tmp_path / "p.yaml") == (
        ("alpha", "0.5"),
        ("on", "True"),
        ("list", "[1, 2]"),
        ("text", "0.50"),
    )


def test_parameters_may_be_json_with_tabs_and_escapes(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{\n\t"a": 1e-1, "b": true,\t"c": null, "d": "\\ud83d\\ude00"}')
    assert load_texts(tmp_path / "p.json") == (("a", "0.1"), ("b", "True"), ("d", "😀"))


@pytest.mark.parametrize(("name", "text"), [("p.yaml", "- a\n"), ("p.yaml", ""), ("p.json", "[1]")])
def test_a_file_without_names_holds_no_parameters(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ParameterError, match="holds no parameters: expected a mapping"):
        load_texts(tmp_path / name)


@pytest.mark.parametrize("text", ["{", '{"a": NaN', "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_bad_json_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(ProjectError) as caught:
        load_texts(tmp_path / "p.json")
    assert caught.value.code == "bad-json"


# --- writing and guessing -----------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_quoted_scalar_reads_back_as_the_same_text(text: str) -> None:
    assert value(quoted(text)) == Scalar(Place(file="f.yaml", line=1, column=6), text)
    item = root(f"[{quoted(text)}, {{{quoted(text)}: {quoted(text)}}}]")
    assert plain(item) == [text, {text: text}]


@pytest.mark.parametrize("text", ["train.py", "python train.py --alpha", "a=1", "scikit-learn==1.5.2"])
def test_harmless_text_needs_no_quotes(text: str) -> None:
    assert quoted(text) == text


def test_an_unpaired_surrogate_cannot_be_quoted() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        quoted("\udce9.py")


@pytest.mark.parametrize(
    ("word", "expected"),
    [("parmeters", "parameters"), ("COMMAND", "command"), ("comand", "command"), ("int", None), ("", None)],
)
def test_the_closest_word_is_close(word: str, expected: str | None) -> None:
    assert closest(word, ["parameters", "command", "min"]) == expected


def test_the_bytes_of_a_windows_editor_are_read_with_a_warning() -> None:
    document = parse(b"a: 1\nname: caf\xe9\n", file="f")
    assert document.root is not None
    assert plain(document.root) == {"a": 1, "name": "café"}
    assert [(it.code, str(it.place)) for it in document.findings] == [("not-utf8", "f:2:10")]


@pytest.mark.parametrize("text", ["a:\n\tb:\n\t\tc: 1\n", "a:\n  b:\n\tc: 1\n", "a: {b:\t{c: 1}}\n"])
def test_tabs_that_make_sense_as_blanks_are_read_with_a_warning(text: str) -> None:
    document = parse(text, file="f")
    assert document.root is not None
    assert plain(document.root) == {"a": {"b": {"c": 1}}}
    assert {it.code for it in document.findings} <= {"tabs"}


# --- what is remembered -------------------------------------------------------------------------------


def test_a_text_that_was_read_before_is_not_parsed_again(tmp_path: Path) -> None:
    memory = yamlfile.Memory(tmp_path / "kept")
    path = tmp_path / "a.yaml"
    path.write_text("a: [1, {b: 'x: é'}, ~]\nc: &d {e: 0.50}\nf: *d\ng: {}\nh: []\n")
    first = yamlfile.read(path, file="one.yaml", memory=memory)
    [kept] = (tmp_path / "kept").iterdir()
    again = yamlfile.read(path, file="one.yaml", memory=memory)
    assert again == first == yamlfile.read(path, file="one.yaml")
    other = yamlfile.read(path, file="two.yaml", memory=memory)
    assert other.root is not None
    assert other.root.place.file == "two.yaml"
    kept.write_bytes(b'[1, 1, "str", "another"]\n' + path.read_bytes())
    assert yamlfile.read(path, memory=memory).root == yamlfile.Scalar(
        Place(file=str(path), line=1, column=1), "another"
    )


@pytest.mark.parametrize("harm", [b"", b"[1, 1]\n", b"nonsense", b"[" * 100_000, b'{"a": 1}\n'])
def test_a_memory_that_was_harmed_is_no_memory(tmp_path: Path, harm: bytes) -> None:
    memory = yamlfile.Memory(tmp_path / "kept")
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n")
    sound = yamlfile.read(path, memory=memory)
    [kept] = (tmp_path / "kept").iterdir()
    for tail in (b"", path.read_bytes()):
        kept.write_bytes(harm + tail)
        assert yamlfile.read(path, memory=memory) == sound


def test_what_is_warned_of_is_parsed_each_time(tmp_path: Path) -> None:
    memory = yamlfile.Memory(tmp_path / "kept")
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\na: 2\n")
    assert [it.code for it in yamlfile.read(path, memory=memory).findings] == ["doubled-key"]
    assert [it.code for it in yamlfile.read(path, memory=memory).findings] == ["doubled-key"]


def test_a_memory_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n")
    assert yamlfile.read(path, memory=yamlfile.Memory(tmp_path / "kept")) == yamlfile.read(path)


@pytest.mark.parametrize(
    "text", ["7", "-12", "0", "007", "0x1f", "1_000", "1:30", "0.5", "-1.50", "1e3", "1.5e3", ".5", "5."]
)
def test_numbers_are_what_pyyaml_takes_them_for(text: str) -> None:
    root = yamlfile.parse(text, file="").root
    assert root is not None
    assert yamlfile.plain(root) == yaml.safe_load(text)
    assert yamlfile.as_text(root) == str(yaml.safe_load(text))
