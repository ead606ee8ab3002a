"""From request to command: entry points, parameters, paths; and, in a real shell, no value is ever syntax."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrun.errors import MlrunError, ParameterError, ProjectError
from mlrun.model import DataSpec, EntryPoint, Finding, Parameter, Project, RunRequest
from mlrun.resolve import resolve
from mlrun.resolve.bash import read
from mlrun.resolve.parameters import near_miss
from mlrun.resolve.spots import HOLE
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlrun.model import RunSpec


@dataclass
class Files:
    """A world in which the named paths exist, and downloads go to `/downloads`."""

    existing: set[str] = field(default_factory=set)
    project_directory: str = "/project"
    caller_directory: str = "/home/ada"

    def exists(self, path: str) -> bool:
        return path in self.existing

    def download(self, url: str) -> str:
        return f"/downloads/{url.rpartition('/')[2]}"


def spec_of(
    command: str,
    *parameters: Parameter,
    given: tuple[tuple[str, str], ...] = (),
    file: tuple[tuple[str, str], ...] = (),
    strict: bool = False,
    existing: tuple[str, ...] = (),
    inputs: tuple[DataSpec, ...] = (),
    outputs: tuple[DataSpec, ...] = (),
    env: tuple[tuple[str, str], ...] = (),
) -> RunSpec:
    entry_point = EntryPoint(
        name="main", command=command, parameters=parameters, inputs=inputs, outputs=outputs, env=env
    )
    return resolve(
        Project(file="MLproject", entry_points=(entry_point,)),
        RunRequest(target=".", parameters=given, file_parameters=file, strict=strict),
        files=Files(set(existing)),
    )


def filled(command: str, value: str) -> str:
    return spec_of(command, Parameter(name="x"), given=(("x", value),)).command


def refusal(
    command: str,
    *parameters: Parameter,
    given: tuple[tuple[str, str], ...] = (),
    strict: bool = False,
) -> tuple[str, str]:
    with pytest.raises(MlrunError) as caught:
        spec_of(command, *parameters, given=given, strict=strict)
    return caught.value.code, caught.value.message


ALPHA = Parameter(name="alpha", kind="float", default="0.5")


# --- entry points -------------------------------------------------------------------------------------


def entry(name: str, *, project: Project | None = None) -> RunSpec:
    files = Files(
        {"/project/train.py", "/project/a b.sh", "/project/-x.py", "/project/fit.R", "/project/{a}.py"}
    )
    return resolve(project or Project(), RunRequest(target=".", entry_point=name), files=files)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("train.py", "python train.py"),
        ("./train.py", "python ./train.py"),
        ("a b.sh", "bash 'a b.sh'"),
        ("-x.py", "python ./-x.py"),
        ("{a}.py", "python '{a}.py'"),
        ("fit.R", r"Rscript -e 'mlflow::mlflow_source('\''fit.R'\'')' --args"),
    ],
)
def test_a_script_of_the_project_is_an_entry_point(name: str, command: str) -> None:
    assert entry(name).argv == ("bash", "-c", command)


@pytest.mark.parametrize("name", ["../train.py", "/etc/train.py", "no.py", "train", "train.rb", "", "a\nb"])
def test_nothing_else_is_one(name: str) -> None:
    with pytest.raises(ProjectError) as caught:
        entry(name)
    assert caught.value.code == "no-such-entry-point"
    assert "\n" not in caught.value.message


def test_an_unknown_entry_point_is_told_with_the_declared_ones_and_the_nearest() -> None:
    project = Project(
        file="MLproject",
        entry_points=(EntryPoint(name="train", command="a"), EntryPoint(name="evaluate", command="b")),
    )
    with pytest.raises(ProjectError) as caught:
        entry("evalaute", project=project)
    assert caught.value.message == "no entry point `evalaute`: MLproject declares `train`, `evaluate`"
    assert caught.value.hint == "did you mean `evaluate`?"


def test_an_entry_point_that_cannot_run_says_why() -> None:
    error = Finding(level="error", code="no-command", message="no command", hint="add one")
    with pytest.raises(ProjectError) as caught:
        entry("b", project=Project(file="MLproject", broken=(("b", error),)))
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "no-command",
        "no command",
        "add one",
    )


def test_a_script_takes_any_parameter_without_a_warning() -> None:
    spec = resolve(
        Project(),
        RunRequest(target=".", entry_point="train.py", parameters=(("alpha", "a b"), ("n", "1"))),
        files=Files({"/project/train.py"}),
    )
    assert spec.command == "python train.py --alpha 'a b' --n 1"
    assert spec.findings == ()


def test_a_script_takes_them_in_strict_mode_too() -> None:
    spec = resolve(
        Project(),
        RunRequest(target=".", entry_point="train.py", parameters=(("alpha", "1"),), strict=True),
        files=Files({"/project/train.py"}),
    )
    assert spec.command == "python train.py --alpha 1"


# --- values -------------------------------------------------------------------------------------------


def test_the_command_line_goes_before_the_file_and_the_file_before_the_default() -> None:
    a, b, c = (Parameter(name=name, default="default") for name in "abc")
    spec = spec_of("{a} {b} {c}", a, b, c, given=(("a", "line"),), file=(("a", "file"), ("b", "file")))
    assert spec.command == "line file default"
    assert [it.origin for it in spec.parameters] == ["command line", "params file", "default"]


def test_all_missing_parameters_are_named_at_once_and_the_declared_ones_described() -> None:
    parameters = (
        Parameter(name="data", kind="path", description="a CSV file"),
        Parameter(name="n", kind="int"),
        Parameter(name="token", default="t0p", secret=True),
        ALPHA,
    )
    with pytest.raises(ParameterError) as caught:
        spec_of("{data} {n} {alpha}", *parameters)
    assert caught.value.code == "missing-parameter"
    assert caught.value.message == "entry point `main` needs a value for `data`, `n`"
    assert caught.value.hint == "add -P data=… -P n=…"
    assert caught.value.details == (
        "data: path, required: a CSV file",
        "n: int, required",
        "token: string, default ***",
        "alpha: float, default 0.5",
    )


def test_an_empty_default_is_a_value() -> None:
    assert spec_of("a {x}", Parameter(name="x", default="")).command == "a ''"


def test_a_parameter_given_twice_is_an_error() -> None:
    assert refusal("a", given=(("k", "1"), ("k", "2"))) == (
        "repeated-parameter",
        "parameter `k` is given twice",
    )


@pytest.mark.parametrize("name", ["", "a\nb", "a\0b", "\udc80"])
def test_a_name_that_cannot_be_told_is_refused(name: str) -> None:
    assert refusal("a", given=((name, "1"),))[0] == "bad-parameter-name"


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_a_value_that_no_program_can_be_given_is_refused(value: str) -> None:
    assert refusal("a {x}", Parameter(name="x"), given=(("x", value),))[0] == "bad-parameter-value"


def test_undeclared_parameters_are_appended_with_a_warning() -> None:
    spec = spec_of("python a.py {alpha}\n", ALPHA, given=(("k", "a b"), ("seed", "")))
    assert spec.command == "python a.py 0.5 --k 'a b' --seed ''"
    assert [it.message for it in spec.findings] == [
        "entry point `main` does not declare `k`, `seed`: appended to its command"
    ]
    assert [(it.name, it.origin) for it in spec.parameters] == [
        ("alpha", "default"),
        ("k", "undeclared"),
        ("seed", "undeclared"),
    ]


def test_strict_refuses_undeclared_and_ill_typed_ones() -> None:
    assert refusal("a", given=(("k", "1"),), strict=True) == (
        "undeclared-parameter",
        "entry point `main` does not declare `k`",
    )
    assert refusal("a", ALPHA, given=(("alpha", "fast"),), strict=True) == (
        "type-mismatch",
        "`alpha` is declared as float, but its value is not a number: `fast`",
    )


def test_none_as_a_default_is_no_ill_typed_value() -> None:
    seed = Parameter(name="seed", kind="int", default="None")
    assert spec_of("a {seed}", seed).findings == ()
    assert [it.code for it in spec_of("a {seed}", seed, given=(("seed", "None"),)).findings] == [
        "type-mismatch"
    ]


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("alhpa", "alpha", True),
        ("alph", "alpha", True),
        ("epochs", "epoch", True),
        ("max-depth", "max_depth", True),
        ("Alpha", "alpha", True),
        ("learing_rate", "learning_rate", True),
        ("max_dapth", "max_depth", True),
        ("seed", "sede", True),
        ("lr", "l1", False),
        ("l1_ratio", "l2_ratio", False),
        ("alpha1", "alpha2", False),
        ("layer1", "layer", False),
        ("date", "data", False),
        ("min_depth", "max_depth", False),
        ("train", "brain", False),
        ("batch", "batch_size", False),
        ("x", "y", False),
        ("", "a", False),
    ],
)
def test_a_near_miss_is_a_slip_and_not_another_word(name: str, known: str, *, near: bool) -> None:
    assert near_miss(name, [known]) == (known if near else None)


def test_a_near_miss_of_a_declared_name_is_refused() -> None:
    with pytest.raises(ParameterError) as caught:
        spec_of("a {alpha}", ALPHA, given=(("alhpa", "1"),))
    assert (caught.value.code, caught.value.hint) == ("unknown-parameter", "did you mean `alpha`?")


def test_a_near_miss_of_a_name_that_was_given_is_a_parameter_of_its_own() -> None:
    spec = spec_of("a {alpha}", ALPHA, given=(("alpha", "1"), ("alphas", "2")))
    assert spec.command == "a 1 --alphas 2"


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [
        ("float", "1e-3", True),
        ("float", "nan", True),
        ("float", "None", False),
        ("int", "-3", True),
        ("int", "3.0", False),
        ("bool", "Yes", True),
        ("bool", "maybe", False),
        ("banana", "anything", True),
        ("string", "3", True),
    ],
)
def test_a_value_of_another_type_is_a_warning_and_passes_unchanged(
    kind: str, value: str, *, fits: bool
) -> None:
    spec = spec_of("a {x}", Parameter(name="x", kind=kind), given=(("x", value),))
    assert spec.command == f"a {value}"
    assert [it.code for it in spec.findings] == ([] if fits else ["type-mismatch"])


@pytest.mark.parametrize("value", ["-0.1", "1.1", "nan", "one", ""])
def test_bounds_always_hold(value: str) -> None:
    parameter = Parameter(name="x", kind="float", minimum=0, maximum=1)
    assert refusal("a {x}", parameter, given=(("x", value),)) == (
        "out-of-bounds",
        f"`x` must be a number of at least 0 and at most 1, not `{value}`",
    )


def test_choices_always_hold() -> None:
    parameter = Parameter(name="x", kind="choice", choices=("linear", "forest"))
    assert spec_of("a {x}", parameter, given=(("x", "forest"),)).command == "a forest"
    with pytest.raises(ParameterError) as caught:
        spec_of("a {x}", parameter, given=(("x", "forrest"),))
    assert caught.value.message == "`x` must be one of linear, forest, not `forrest`"
    assert caught.value.hint == "did you mean `forest`?"


def test_a_secret_value_is_in_the_command_and_nowhere_else() -> None:
    token = Parameter(name="token", secret=True, kind="int", maximum=3)
    spec = spec_of(
        "a --token={token} '{token}' $(b {token})",
        Parameter(name="token", secret=True),
        given=(("token", "s3 cret"),),
    )
    assert spec.command == "a --token='s3 cret' 's3 cret' $(b 's3 cret')"
    assert spec.shown_command == "a --token=*** '***' $(b ***)"
    assert spec.parameters[0].secret
    assert "s3 cret" not in refusal("a", token, given=(("token", "s3 cret"),))[1]
    assert "s3 cret" not in refusal("$(({token}))", spec_parameter(), given=(("token", "s3 cret"),))[1]


def spec_parameter() -> Parameter:
    return Parameter(name="token", secret=True)


# --- paths and URIs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("in.csv", "/home/ada/in.csv"),
        ("./in.csv", "/home/ada/in.csv"),
        ("/data/in.csv", "/data/in.csv"),
        ("file:///data/a%20b.csv", "/data/a b.csv"),
        ("a:b.csv", "/home/ada/a:b.csv"),
        ("http://example.org/x.csv", "/downloads/x.csv"),
        ("HTTPS://example.org/x.csv", "/downloads/x.csv"),
    ],
)
def test_a_path_becomes_an_absolute_one(value: str, text: str) -> None:
    existing = ("/home/ada/in.csv", "/data/in.csv", "/data/a b.csv", "/home/ada/a:b.csv")
    spec = spec_of("a {d}", Parameter(name="d", kind="path"), given=(("d", value),), existing=existing)
    assert (spec.parameters[0].value, spec.parameters[0].text) == (value, text)


def test_a_default_path_is_looked_for_in_the_project_first() -> None:
    parameter = Parameter(name="d", kind="path", default="in.csv")
    both = ("/project/in.csv", "/home/ada/in.csv")
    assert spec_of("a {d}", parameter, existing=both).command == "a /project/in.csv"
    assert spec_of("a {d}", parameter, existing=both[1:]).command == "a /home/ada/in.csv"
    assert (
        spec_of("a {d}", parameter, existing=both, given=(("d", "in.csv"),)).command == "a /home/ada/in.csv"
    )


@pytest.mark.parametrize("value", ["no.csv", "", "file:///no.csv", "file://host/in.csv", "file://[/in.csv"])
def test_a_path_must_exist(value: str) -> None:
    assert refusal("a {d}", Parameter(name="d", kind="path"), given=(("d", value),)) == (
        "no-such-path",
        f"`d` must be an existing path: there is no `{value}` in /home/ada",
    )


@pytest.mark.parametrize("value", ["s3://bucket/x", "gs://b/x", "runs:/1/x", "models:/m/1", "dbfs:/x"])
def test_a_scheme_that_is_not_downloaded_is_refused(value: str) -> None:
    code, message = refusal("a {d}", Parameter(name="d", kind="path"), given=(("d", value),))
    assert code == "unsupported-scheme"
    assert value in message


def test_a_uri_passes_untouched_and_needs_a_scheme() -> None:
    uri = Parameter(name="u", kind="uri")
    assert (
        spec_of("a {u}", uri, given=(("u", "s3://bucket/x?y=1"),)).parameters[0].text == "s3://bucket/x?y=1"
    )
    assert refusal("a {u}", uri, given=(("u", "bucket/x"),))[0] == "not-a-uri"
    assert (
        refusal("a {u}", uri, given=(("u", "bucket/x"),))[1]
        == "`u` must be a URI with a scheme, not `bucket/x`"
    )


def test_no_credentials_of_a_url_are_told() -> None:
    path = Parameter(name="d", kind="path")
    assert "pw" not in refusal("a {d}", path, given=(("d", "s3://ada:pw@bucket/x"),))[1]


# --- templates ----------------------------------------------------------------------------------------


def test_placeholders_are_those_of_format() -> None:
    path = Parameter(name="data-path", default="x")
    assert spec_of("a {data-path} ${{HOME}} {{}} {data-path:>3}", path).command == "a x ${HOME} {} '  x'"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("awk '{print $1}' {alpha}", "`{print $1}` in `awk '{print $1}' {alpha}` is no declared parameter"),
        ("a {}", "`{}` in `a {}` is no declared parameter"),
        ("a {beta}", "`{beta}` in `a {beta}` is no declared parameter"),
        ("a {alpha.real}", "`{alpha.real}` in `a {alpha.real}` is no declared parameter"),
        ("a {alpha!r}", "`{alpha!r}` in `a {alpha!r}` is no declared parameter"),
        ("a {alpha:.2f}", "`{alpha:.2f}` in `a {alpha:.2f}` is no declared parameter"),
        ("a\nb }", "a lone `}` in `b }` (line 2)"),
        ("a { b", "a lone `{` in `a { b`"),
        ("a {{alpha}", "a lone `}` in `a {{alpha}`"),
    ],
)
def test_other_braces_are_told(command: str, message: str) -> None:
    assert refusal(command, ALPHA) == ("bad-placeholder", message)


def test_a_placeholder_after_a_dollar_is_the_projects_mistake() -> None:
    assert refusal("a ${alpha}", ALPHA)[0] == "bad-placeholder"
    assert filled("awk '{{print ${x}}}'", "2") == "awk '{print $2}'"


def test_inputs_outputs_and_variables_are_filled_without_quoting() -> None:
    spec = spec_of(
        "a",
        Parameter(name="d", default="my data.csv"),
        Parameter(name="none", default=""),
        inputs=(DataSpec(path="{d}", kind="data"), DataSpec(path="{none}")),
        outputs=(DataSpec(path="out/{d}.txt"), DataSpec(path="../up.txt")),
        env=(("D", "{d}{{}}"),),
    )
    assert [it.path for it in spec.inputs] == ["my data.csv"]
    assert [it.path for it in spec.outputs] == ["out/my data.csv.txt", "../up.txt"]
    assert spec.variables == (("D", "my data.csv{}"),)
    assert [it.message for it in spec.findings] == ["output `../up.txt` is outside the project"]


def test_the_requests_timeout_goes_before_the_entry_points() -> None:
    project = Project(entry_points=(EntryPoint(name="main", command="a", timeout=60),))
    assert resolve(project, RunRequest(target="."), files=Files()).timeout == 60
    assert resolve(project, RunRequest(target=".", timeout=0.5), files=Files()).timeout == 0.5


# --- appending ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "appended"),
    [
        ("a\n", "a --k v"),
        ("a \\\n  b \\\n", "a \\\n  b --k v"),
        ("a\nb\n\n", "a\nb --k v"),
        ("a && b", "a && b --k v"),
        ("a > log 2>&1", "a > log 2>&1 --k v"),
        ("bash -c 'b \"$@\"' _", "bash -c 'b \"$@\"' _ --k v"),
        ("X=1 a", "X=1 a --k v"),
        ("a # not '", None),
        ("a &", None),
        ("a;", None),
        ("a |", None),
        ("X=1", None),
        ("if a; then b; fi", None),
        ("(a)", None),
        ("{{ a; }}", None),
        ("cat <<E\nE\n", None),
        ("", None),
    ],
)
def test_what_is_undeclared_joins_the_last_command_or_is_refused(command: str, appended: str | None) -> None:
    if appended is None:
        assert refusal(command, given=(("k", "v"),))[0] == "cannot-append"
    else:
        assert spec_of(command, given=(("k", "v"),)).command == appended


@pytest.mark.parametrize("value", ["<(touch canary)", "a>(b", "ends in <", "it's"])
def test_inside_a_quoted_expansion_nothing_may_stand_that_bash_reads_even_there(value: str) -> None:
    assert refusal('echo "${{V:-{x}}}"', Parameter(name="x"), given=(("x", value),))[0] == "unsafe-value"


def test_a_command_that_no_shell_takes_is_refused() -> None:
    assert refusal("a {x}", Parameter(name="x"), given=(("x", "y" * 200_000),))[0] == "command-too-long"


# --- quoting: what is written -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "value", "written"),
    [
        ("a {x}", "0.5", "a 0.5"),
        ("a --x={x}", "a,b=c", "a --x=a,b=c"),
        ("a '{x}'", "0.5", "a '0.5'"),
        ('a "{x}"', "0.5", 'a "0.5"'),
        ("a '{x}'", "it's", "a 'it'\\''s'"),
        ('a "{x}"', 'a"$b`', 'a "a\\"\\$b\\`"'),
        ('a "{x}"', "a b", 'a "a b"'),
        ("a $HOME{x}", "DIR", "a $HOME'DIR'"),
        ('a "$HOME{x}"', "DIR", 'a "$HOME${0+}DIR"'),
        ('a "$HOME/{x}"', "DIR", 'a "$HOME/DIR"'),
        ("a {x}>log", "2", "a '2'>log"),
        ("{x} a.py", "python", "python a.py"),
        ("{x} a.py", "if", "'if' a.py"),
        ("{x} a.py", "A=1", "'A=1' a.py"),
        ("a{x}{x}", "i", "a'i''i'"),
        ("a {{{x},c}}", "a,b", "a {'a,b',c}"),
        ("a $(({x}+1))", "-3", "a $(( -3+1))"),
        ("a # {x}\nb", "c\nd", "a # c d\nb"),
        ("bash -c 'a {x}'", "b c", "bash -c 'a '\\''b c'\\'''"),
        ("bash -c {x}", "ls -l", "bash -c 'ls -l'"),
        ("python a.py -c {x}", "my conf.yaml", "python a.py -c 'my conf.yaml'"),
        ("python a.py -c '{x}'", "a;b", "python a.py -c 'a;b'"),
        ("bash run.sh -c '{x}'", "a;b", "bash run.sh -c 'a;b'"),
    ],
)
def test_values_are_written_for_the_place_they_stand_in(command: str, value: str, written: str) -> None:
    assert filled(command, value) == written


@pytest.mark.parametrize(
    "command",
    [
        "a $(({x}))",
        "(( n = {x} ))",
        "for ((i=0; i<{x}; i++)); do a; done",
        "a[{x}]=1",
        'a["{x}"]=1',
        "[[ {x} -gt 1 ]]",
        '[[ 1 -le "{x}" ]]',
        "[[ -v {x} ]]",
        "let n={x}",
        "declare {x}",
        "printf -v {x} %s 1",
        "a ${{v:{x}:1}}",
        "a ${{v/{x}/y}}",
        "a ${{v[{x}]}}",
        "a ${{{x}}}",
        "eval {x}",
        "ssh host {x}",
        "bash -c {x}",
        "bash -euo pipefail -c {x}",
        "env A=1 timeout 5 bash -lc {x}",
        "su ada -c {x}",
        "echo {x} | bash",
        "echo {x} | sudo sh -s",
        "source <(echo {x})",
        "bash <<< {x}",
        "bash <<E\necho $HOME {x}\nE\n",
        "python -c \"print('{x}')\"",
        "python - <<E\nprint('{x}')\nE\n",
        "perl -e 'print {x}'",
        "declare -i n; n={x}",
        "n={x}; echo $((n))",
        "n={x}; echo ${{!n}}",
        "cat << {x}\n",
        "eval bash -c :{x}",
        "bash -c $NOPE :{x}",
        "$(echo {x})",
        "`echo {x}`",
        "${{NOPE:-eval {x}}}",
        "a=([{x}]=1)",
        "a[ {x} ]=1",
        "a $[1+${{NOPE:-{x}}}]",
        "awk 'BEGIN {{ print {x} }}'",
        "sed s/a/{x}/ file",
        "a 'unclosed {x}",
        'a "$(b {x}"',
        "a " + "$(" * 200 + "{x}" + ")" * 200,
    ],
)
def test_where_bash_would_evaluate_it_a_hostile_value_is_refused(command: str) -> None:
    code, _ = refusal(command, Parameter(name="x"), given=(("x", "a[$(touch canary)]"),))
    assert code in {"unsafe-value", "bad-placeholder"}


# --- quoting: what a real shell does ------------------------------------------------------------------


@positional_value
class Context:
    """A command that prints the value, and what of it comes out."""

    command: str
    refuses: bool = False
    expected: Callable[[str], str] = str


def stripped(value: str) -> str:
    """`$(…)` drops line ends."""
    return value.rstrip("\n")


def detabbed(value: str) -> str:
    """`<<-` drops the tabs at the start of lines."""
    return "\n".join(line.lstrip("\t") for line in value.split("\n"))


CONTEXTS = [
    Context("printf %s {x}"),
    Context("printf %s '{x}'"),
    Context('printf %s "{x}"'),
    Context("printf %s $'{x}'"),
    Context('printf %s $"{x}"'),
    Context("printf %s \\{x}"),
    Context("printf %s \\\n{x}"),
    Context('printf %s "\\\n{x}"'),
    Context("printf %s --x={x}", expected=lambda it: f"--x={it}"),
    Context("printf %s pre{x}post", expected=lambda it: f"pre{it}post"),
    Context("printf %s 'a'{x}\"b\"", expected=lambda it: f"a{it}b"),
    Context("printf %s \"a\"'{x}'b", expected=lambda it: f"a{it}b"),
    Context("printf %s {x}{x}", expected=lambda it: it * 2),
    Context('printf %s "\\{x}"', expected=lambda it: f"\\{it}"),
    Context("printf %s $NOPE{x}"),
    Context('printf %s "$NOPE{x}"'),
    Context('printf %s "${{NOPE}}{x}"'),
    Context('printf %s "$(printf %s {x})"', expected=stripped),
    Context('printf %s "$(printf %s "{x}")"', expected=stripped),
    Context("printf %s \"$(printf %s '{x}')\"", expected=stripped),
    Context('printf %s "$(printf %s "$(printf %s "{x}.")")"', expected=lambda it: f"{it}."),
    Context('printf %s "`printf %s {x}`"', expected=stripped, refuses=True),
    Context("printf %s \"`printf %s '{x}'`\"", expected=stripped, refuses=True),
    Context('x=`printf %s {x}`; printf %s "$x"', expected=stripped),
    Context('x=`printf %s "{x}"`; printf %s "$x"', expected=stripped),
    Context('printf %s "`printf %s "{x}"`"', expected=stripped, refuses=True),
    Context('printf %s "`printf %s \\"\\`printf %s {x}\\`\\"`"', expected=stripped, refuses=True),
    Context('printf %s "${{NOPE:-{x}}}"', refuses=True),
    Context('printf %s "${{NOPE:-"{x}"}}"', refuses=True),
    Context("printf %s ${{NOPE:-{x}}}"),
    Context("printf %s ${{NOPE:-'{x}'}}"),
    Context('printf %s ${{NOPE-"{x}"}}'),
    Context('printf %s "${{NOPE:-$(printf %s {x})}}"', expected=stripped),
    Context("cat <<E\n<{x}>\nE\n", refuses=True, expected=lambda it: f"<{it}>\n"),
    Context("cat <<'E'\n{x}.\nE\n", refuses=True, expected=lambda it: f"{it}.\n"),
    Context(
        "cat <<-E\n\t{x}.\n\tE\nprintf %s {x}", refuses=True, expected=lambda it: f"{detabbed(it)}.\n{it}"
    ),
    Context(
        'cat <<E\n"$(printf %s {x})" \\{x}\nE\n',
        refuses=True,
        expected=lambda it: f'"{stripped(it)}" \\{it}\n',
    ),
    Context("cat <<E\n$NOPE{x}\nE\n", refuses=True, expected=lambda it: f"{it}\n"),
    Context('cat <<< "{x}"', expected=lambda it: f"{it}\n"),
    Context("cat <<< {x}", expected=lambda it: f"{it}\n"),
    Context("cat < <(printf %s {x})"),
    Context("bash -c 'printf %s {x}'"),
    Context('bash -c "printf %s {x}"'),
    Context("bash -euc 'printf %s \"{x}\"'"),
    Context("bash -c \"printf %s '{x}'\""),
    Context("bash -c 'printf %s \"$1\"' _ {x}"),
    Context("bash <<'E'\nprintf %s {x}\nE\n", refuses=True),
    Context("bash <<E\nprintf %s '{x}'\nE\n", refuses=True),
    Context("bash <<< 'printf %s \"{x}\"'"),
    Context("eval 'printf %s {x}'"),
    Context('eval "printf %s \\"{x}\\""'),
    Context("case {x} in {x}) printf %s {x};; *) printf no;; esac"),
    Context('printf %s "$(case a in a) printf %s {x};; esac)"', expected=stripped),
    Context("[[ {x} == {x} ]] && printf %s {x}", refuses=True),
    Context('if true; then for i in {x}; do printf %s "$i"; done; fi'),
    Context("( {{ printf %s {x}; }} )"),
    Context('f() {{ printf %s "$1"; }}; f {x}'),
    Context('X={x}; printf %s "$X"'),
    Context("X={x} bash -c 'printf %s \"$X\"'"),
    Context('a=({x} b); printf %s "${{a[0]}}"', refuses=True),
    Context("# {x}\ntrue", expected=lambda _: ""),
    Context("true #{x}", expected=lambda _: ""),
    Context("printf %s {x}#a", expected=lambda it: f"{it}#a"),
    Context("printf %s {x} 2>&1 | cat"),
    Context("printf %s {x}>&1"),
    Context("! false && printf %s {x}"),
]

FRAGMENTS = [
    *"'\"`$\\!~*?[]{}()<>|&;#=%^,:@ \t\n-+/.",
    *("$(touch canary)", "`touch canary`", "; touch canary;", "&& touch canary #", "| touch canary", "$HOME"),
    *("'; touch canary '", '"; touch canary "', "}; touch canary;", ") touch canary", "\nE\ntouch canary\n"),
    *(
        "a[$(touch canary)]",
        "${IFS}",
        "$((1))",
        "{a,b}",
        "{1..3}",
        "\\n",
        "\\'",
        "\\\n",
        "$'",
        '$"',
        "${0+}",
        "--x",
    ),
    *(
        "E",
        "\nE",
        "EOF",
        "]]",
        "esac",
        "fi",
        "if",
        "in",
        "<(touch canary)",
        "<<E",
        "%s",
        "-n",
        "\\x41",
        "\udcff",
    ),
    *("a", "2", "ü", "漢", "\x07", "\x1b", "\r", "\x7f", "\u2028", "x y", "/etc", "..", "A=1", "~root"),
]
VALUES = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
)


def outputs_of(commands: list[str], folder: Path) -> list[bytes]:
    """What each command prints, run by a shell of its own."""
    loop = """while IFS= read -r -d '' c; do bash -c "$c" </dev/null 2>/dev/null; printf '\\0'; done"""
    text = "".join(f"{command}\0" for command in commands)
    result = subprocess.run(
        ["bash", "-c", loop], input=os.fsencode(text), cwd=folder, capture_output=True, check=True
    )
    return result.stdout.split(b"\0")[:-1]


def check_values_arrive(values: list[str], folder: Path) -> None:
    """Every value through every context: what comes out is the value, or it is refused; nothing is run."""
    cases = []
    for context in CONTEXTS:
        for value in values:
            try:
                cases.append((context, value, filled(context.command, value)))
            except ParameterError:
                if not context.refuses:
                    raise
    outputs = outputs_of([command for _, _, command in cases], folder)
    assert list(folder.iterdir()) == []
    for (context, value, command), output in zip(cases, outputs, strict=True):
        assert output == os.fsencode(context.expected(value)), (
            f"{context.command!r} with {value!r}: {command!r}"
        )


@pytest.mark.slow
def test_each_of_the_hostile_pieces_arrives_through_every_quoting(tmp_path: Path) -> None:
    pieces = [*FRAGMENTS[:32], ""]
    joined = ["".join(pieces[at::8]) for at in range(8)]
    check_values_arrive([*joined, *FRAGMENTS[38:50]], tmp_path)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(VALUES, min_size=2, max_size=3))
def test_any_value_arrives_as_it_is_and_is_never_run(values: list[str], tmp_path: Path) -> None:
    check_values_arrive(values, tmp_path)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(VALUES, min_size=4, max_size=8))
def test_any_of_very_many_values_arrives_as_it_is(values: list[str], tmp_path: Path) -> None:
    check_values_arrive(values, tmp_path)


PIECES = [
    *("\0",) * 5,
    *(
        "'",
        '"',
        "`",
        "\\",
        "$",
        "$(",
        ")",
        "$((",
        "((",
        "))",
        "$[",
        "]",
        "${NOPE:-",
        "${NOPE",
        "}",
        "{",
        "$'",
        '$"',
    ),
    *(
        " ",
        "\n",
        "\\\n",
        "#",
        ";",
        "|",
        "&&",
        "<",
        "<(",
        "<<<",
        "<<E\n",
        "\nE\n",
        "<<'E'\n",
        "(",
        "!",
        "=",
        "x=",
        "a[",
    ),
    *(
        "printf %s ",
        "echo ",
        "cat ",
        "eval ",
        "bash -c ",
        "bash ",
        "let ",
        "declare ",
        "export ",
        "[ ",
        "[[ ",
        " ]]",
    ),
    *(
        "case a in a)",
        ";;",
        "esac",
        "if ",
        "then ",
        "fi",
        "for i in ",
        "do ",
        "done",
        "-v ",
        "-eq ",
        "a",
        "2",
        "$x",
        "~",
    ),
]
ATTACKS = [
    *(
        "$(touch canary)",
        "`touch canary`",
        ";touch canary;",
        "\ntouch canary\n",
        "\nE\ntouch canary\n",
        "a[$(touch canary)]",
    ),
    *(
        "';touch canary;'",
        '";touch canary;"',
        "'$(touch canary)'",
        '"`touch canary`"',
        "\\$(touch canary)",
        "\\';touch canary;",
    ),
    *(
        "];touch canary;",
        "));touch canary;",
        "}`touch canary`",
        "esac;touch canary;",
        "<(touch canary)",
        "#\ntouch canary",
    ),
]


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    cases=st.lists(
        st.tuples(st.lists(st.sampled_from(PIECES), min_size=2, max_size=9), st.sampled_from(ATTACKS)),
        min_size=20,
        max_size=40,
    )
)
def test_no_value_is_run_however_odd_the_command(cases: list[tuple[list[str], str]], tmp_path: Path) -> None:
    commands = []
    for pieces, attack in cases:
        text = "".join(pieces)
        spots = read(text).spots
        assert len(spots) == text.count(HOLE)
        if all(spot.admits(attack) for spot in spots):
            first, *rest = text.split(HOLE)
            written = [spot.write(attack) + part for spot, part in zip(spots, rest, strict=True)]
            commands.append(first + "".join(written))
    outputs_of(commands, tmp_path)
    assert list(tmp_path.iterdir()) == [], commands


SIMPLE = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,10}", fullmatch=True).filter(lambda it: ".." not in it)


@given(value=SIMPLE, command=st.sampled_from(CONTEXTS))
def test_a_simple_value_stands_where_mlflow_puts_it(value: str, command: Context) -> None:
    assert bare(filled(command.command, value)) == bare(command.command.format(x=value))


def bare(command: str) -> str:
    """A command without the quotes, and what else changes nothing for a simple value."""
    return command.replace("${0+}", "").translate(str.maketrans("", "", "'\"\\\n"))
