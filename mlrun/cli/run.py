"""`mlrun run`: the arguments, by typer. What is done with them is in `execute`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlrun.cli.options import RunOptions

Text = str | None


def run_command(  # one argument an option: typer reads them from here
    target: Annotated[
        str,
        typer.Argument(metavar="[TARGET]", help="A directory, or a git URL with optional #subdir and @REV."),
    ] = ".",
    entry_point: Annotated[
        str,
        typer.Option(
            "-e", "--entry-point", metavar="NAME", help="The entry point, or a .py/.sh file of the project."
        ),
    ] = "main",
    version: Annotated[
        Text,
        typer.Option("-v", "--version", metavar="REV", help="A branch, a tag, or a commit (full or short)."),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "-P", "--param", "--param-list", metavar="NAME=VALUE", help="A parameter; may be given again."
        ),
    ] = None,
    params_file: Annotated[
        Text, typer.Option("--params-file", metavar="FILE", help="Parameters from a YAML or JSON file.")
    ] = None,
    env_manager: Annotated[
        Text,
        typer.Option(
            "--env-manager",
            metavar="KIND",
            help="auto, venv (also: virtualenv, uv), conda, docker, or system (also: local).",
        ),
    ] = None,
    name: Annotated[
        Text,
        typer.Option(
            "--name", "--run-name", metavar="NAME", help="A name for the run (default: one is made up)."
        ),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="A tag; may be given again.")
    ] = None,
    experiment_name: Annotated[
        Text,
        typer.Option(
            "--experiment-name", metavar="NAME", help="The experiment, kept as the tag `experiment`."
        ),
    ] = None,
    timeout: Annotated[
        Text, typer.Option("--timeout", metavar="TIME", help="End the run after this long: 90, 90s, 15m, 2h.")
    ] = None,
    backend: Annotated[
        Text, typer.Option("-b", "--backend", metavar="NAME", help="Where to run: local.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse undeclared and ill-typed parameters.")
    ] = False,
    isolated: Annotated[
        bool, typer.Option("--isolated", help="Run a directory from a clean checkout of its snapshot.")
    ] = False,
    refresh_env: Annotated[
        bool, typer.Option("--refresh-env", help="Resolve the dependencies anew.")
    ] = False,
    as_of: Annotated[
        str,
        typer.Option(
            "--as-of",
            metavar="DAY",
            help="Packages as they stood on a day: commit, now, or a date such as 2020-08-12. auto: the"
            " commit's day for a git URL or -v REV without a lock, else now.",
        ),
    ] = "auto",
    docker_args: Annotated[
        list[str] | None,
        typer.Option(
            "-A",
            "--docker-args",
            metavar="NAME[=VALUE]",
            help="An option of `docker run`; may be given again.",
        ),
    ] = None,
    build_image: Annotated[
        bool, typer.Option("--build-image", help="Copy the project into an image instead of mounting it.")
    ] = False,
    skip_image_build: Annotated[
        bool, typer.Option("--skip-image-build", help="Use the image of an earlier build as it is.")
    ] = False,
    observe: Annotated[
        Text,
        typer.Option(
            "--observe",
            metavar="HOW",
            help="How to notice the files that the program reads and writes: auto, shim, strace, python."
            " Default: as the project says, else auto.",
        ),
    ] = None,
    no_observe: Annotated[
        bool, typer.Option("--no-observe", help="Record only what is declared as input and output.")
    ] = False,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache", help="Where an earlier run was the same, put back what it made, and run nothing."
        ),
    ] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run, whatever has been run before.")] = False,
    jobs: Annotated[
        Text,
        typer.Option(
            "-j",
            "--jobs",
            metavar="N",
            help="How many of the steps that it needs at once (1: each may use the whole machine).",
        ),
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="After a failed step, run those that do not depend on it.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the plan (snapshot, command, environment) and do nothing."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the record on stdout; the program's output goes to stderr.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Print nothing but the program's output.")
    ] = False,
) -> int:
    """Run a project, and record what it was and what came of it.

    TARGET is read like MLflow's: its MLproject names the environment and the entry points. The program's own
    output passes through; the record is kept in the store. What an entry point needs (`needs`, and others
    whose outputs it reads) is run before it, unless nothing that matters to it has changed.

    \b
    Examples:
      mlrun run .
      mlrun run examples/wine -P strength=0.5 -P seed=3
      mlrun run . -e prepare.py --timeout 15m
      mlrun run https://github.com/mlflow/mlflow-example -P alpha=0.4
      mlrun run git@host:team/wine.git#models -v v1.2 --name baseline
      mlrun run https://github.com/team/old-study --as-of 2019-06-01
      mlrun run . --env-manager docker -A gpus=all
      mlrun run . -e evaluate -j 4 -P train.alpha=0.1
      mlrun run . --json > record.json
    """
    from mlrun.cli.execute import execute

    return execute(
        RunOptions(
            target=target,
            entry_point=entry_point,
            version=version,
            param=tuple(param or ()),
            params_file=params_file,
            env_manager=env_manager,
            name=name,
            tag=tuple(tag or ()),
            experiment_name=experiment_name,
            timeout=timeout,
            backend=backend,
            strict=strict,
            isolated=isolated,
            refresh_env=refresh_env,
            as_of=as_of,
            docker_args=tuple(docker_args or ()),
            build_image=build_image,
            skip_image_build=skip_image_build,
            observe=observe,
            no_observe=no_observe,
            cache=cache,
            no_cache=no_cache,
            jobs=jobs,
            keep_going=keep_going,
            dry_run=dry_run,
            as_json=as_json,
            quiet=quiet,
        )
    )
