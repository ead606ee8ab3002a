"""What `mlrun run` was asked, as one value: made by `run` (typer) or by `fast`, read by `execute`."""

from __future__ import annotations

from mlrun.value import value


@value
class RunOptions:
    """The options of `mlrun run` as typed; nothing is checked yet."""

    target: str = "."
    entry_point: str = "main"
    version: str | None = None
    param: tuple[str, ...] = ()
    params_file: str | None = None
    env_manager: str | None = None
    name: str | None = None
    tag: tuple[str, ...] = ()
    experiment_name: str | None = None
    timeout: str | None = None
    backend: str | None = None
    strict: bool = False
    isolated: bool = False
    refresh_env: bool = False
    as_of: str = "auto"
    docker_args: tuple[str, ...] = ()
    build_image: bool = False
    skip_image_build: bool = False
    observe: str | None = None
    no_observe: bool = False
    cache: bool = False
    no_cache: bool = False
    jobs: str | None = None
    keep_going: bool = False
    dry_run: bool = False
    as_json: bool = False
    quiet: bool = False


VALUES = {
    "-e": "entry_point",
    "--entry-point": "entry_point",
    "-v": "version",
    "--version": "version",
    "--params-file": "params_file",
    "--env-manager": "env_manager",
    "--name": "name",
    "--run-name": "name",
    "--experiment-name": "experiment_name",
    "--timeout": "timeout",
    "-b": "backend",
    "--backend": "backend",
    "--as-of": "as_of",
    "--observe": "observe",
    "-j": "jobs",
    "--jobs": "jobs",
}
"""Options that take one value, and the field it goes to."""

REPEATED = {
    "-P": "param",
    "--param": "param",
    "--param-list": "param",
    "--tag": "tag",
    "-A": "docker_args",
    "--docker-args": "docker_args",
}
"""Options that may be given again and again."""

SWITCHES = {
    "--strict": "strict",
    "--isolated": "isolated",
    "--refresh-env": "refresh_env",
    "--build-image": "build_image",
    "--skip-image-build": "skip_image_build",
    "--no-observe": "no_observe",
    "--cache": "cache",
    "--no-cache": "no_cache",
    "--keep-going": "keep_going",
    "--dry-run": "dry_run",
    "--json": "as_json",
    "-q": "quiet",
    "--quiet": "quiet",
}
"""Options without a value."""
