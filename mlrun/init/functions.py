"""Scripts whose command line is made of a function: click, typer, fire."""

from __future__ import annotations

import ast
from functools import partial

from mlrun.init.options import (
    KINDS,
    Arguments,
    Collected,
    Option,
    description_of,
    flag_of,
    is_true,
    leave_out,
    name_of,
    of_its_type,
    with_choices,
    with_default,
)
from mlrun.init.source import Value, called, constants, dotted, keyword, literals, texts

Function = ast.FunctionDef | ast.AsyncFunctionDef


# --- click --------------------------------------------------------------------------------------------


def read_click(tree: ast.Module) -> Arguments | None:
    """The options and arguments of the one command."""
    commands = [node for node in _functions(tree) if _decorators(node, "command")]
    if len(commands) != 1 or any(_decorators(node, "group") for node in _functions(tree)):
        return Arguments(library="click", left_out=("subcommands",)) if commands else None
    known, collected = constants(tree), Collected("click")
    for node in _decorators(commands[0], "option") + _decorators(commands[0], "argument"):
        names = texts(node.args)
        if names:
            written = flag_of(names) or names[0]
            collected.add(written, partial(_click_option, node, known))
    return collected.arguments()


def _functions(tree: ast.Module) -> list[Function]:
    return [node for node in tree.body if isinstance(node, Function)]


def _decorators(node: Function, name: str) -> list[ast.Call]:
    return [it for it in node.decorator_list if isinstance(it, ast.Call) and called(it) == name]


def _click_option(node: ast.Call, known: dict[str, ast.expr]) -> Option:
    names, flag = texts(node.args), flag_of(texts(node.args))
    if any("/" in name for name in names) or any(is_true(keyword(node, it)) for it in ("is_flag", "count")):
        leave_out("a switch")
    if keyword(node, "nargs") is not None or is_true(keyword(node, "multiple")):
        leave_out("a list of values")
    if called(node) == "option" and flag is None:
        leave_out("its name")
    kind, choices = _click_type(keyword(node, "type"), known)
    option = Option(
        name=name_of(flag or names[0]),
        flag=flag,
        kind=kind,
        description=description_of(keyword(node, "help")),
    )
    asked = is_true(keyword(node, "required")) or keyword(node, "prompt") is not None
    if asked or (flag is None and keyword(node, "default") is None):
        return with_choices(option, choices)
    return with_choices(of_its_type(with_default(option, keyword(node, "default"), known)), choices)


def _click_type(node: ast.expr | None, known: dict[str, ast.expr]) -> tuple[str, tuple[Value, ...]]:
    if isinstance(node, ast.Call):
        choices = literals(node.args[0], known) if called(node) == "Choice" and node.args else ()
        node = node.func
    else:
        choices = ()
    return KINDS.get(dotted(node), "string"), choices


# --- typer and fire: the parameters of a function -----------------------------------------------------


def read_typer(tree: ast.Module) -> Arguments | None:
    """The parameters of the one command's function, annotated or not."""
    functions = _functions(tree)
    run = _given_to(tree, "run")
    commands = [it for it in functions if it.name in run or _decorators(it, "command")]
    if not commands:
        return None
    if len(commands) > 1 or any(_decorators(it, "callback") for it in functions):
        return Arguments(library="typer", left_out=("subcommands",))
    known, collected = constants(tree), Collected("typer")
    for argument, default in _parameters(commands[0]):
        collected.add(argument.arg, partial(_typer_option, argument, default, known))
    return collected.arguments()


def read_fire(tree: ast.Module) -> Arguments | None:
    """The parameters of the function that is handed to `fire.Fire`."""
    run = _given_to(tree, "Fire")
    function = next((it for it in _functions(tree) if it.name in run), None)
    if function is None:
        return None
    known, collected = constants(tree), Collected("fire")
    for argument, default in _parameters(function):
        collected.add(argument.arg, partial(_fire_option, argument, default, known))
    return collected.arguments()


def _fire_option(argument: ast.arg, default: ast.expr | None, known: dict[str, ast.expr]) -> Option:
    option = Option(
        name=argument.arg, flag=f"--{argument.arg}", kind=KINDS.get(dotted(argument.annotation), "string")
    )
    return option if default is None else of_its_type(with_default(option, default, known))


def _given_to(tree: ast.Module, name: str) -> set[str]:
    """The functions that are handed to `typer.run(…)` or `fire.Fire(…)`."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and called(node) == name]
    return {dotted(node.args[0]) for node in calls if node.args}


def _parameters(function: Function) -> list[tuple[ast.arg, ast.expr | None]]:
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    padding: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults))
    return [
        *zip(positional, [*padding, *given.defaults], strict=True),
        *zip(given.kwonlyargs, given.kw_defaults, strict=True),
    ]


def _typer_option(argument: ast.arg, default: ast.expr | None, known: dict[str, ast.expr]) -> Option:
    annotation, details = _annotation(argument.annotation)
    if isinstance(default, ast.Call) and called(default) in ("Option", "Argument"):
        details, default = default, default.args[0] if default.args else keyword(default, "default")
    if isinstance(default, ast.Constant) and default.value is Ellipsis:
        default = None
    if dotted(annotation) == "bool":
        leave_out("a switch")
    is_argument = called(details) == "Argument" if details else default is None
    flags = [name for name in texts(details.args) if name.startswith("--")] if details else []
    if any("/" in flag for flag in flags):
        leave_out("a switch")
    flag = None if is_argument else (flag_of(flags) or "--" + argument.arg.replace("_", "-"))
    option = Option(
        name=argument.arg,
        flag=flag,
        kind=KINDS.get(dotted(annotation), "string"),
        description=description_of(keyword(details, "help")) if details else None,
    )
    return option if default is None else of_its_type(with_default(option, default, known))


def _annotation(node: ast.expr | None) -> tuple[ast.expr | None, ast.Call | None]:
    """The type in `Annotated[type, typer.Option(…)]`, and the call beside it."""
    if isinstance(node, ast.Subscript) and dotted(node.value).endswith("Annotated"):
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return parts[0], next((it for it in parts[1:] if isinstance(it, ast.Call)), None)
    return node, None
