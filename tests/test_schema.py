"""The published schema and the reader, held together over the same files.

The first line of a bad file says what the reader says of it. `# semantic:` marks those that only the reader
can refuse, `# syntax:` those that are no YAML.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types

from mlrun import yamlfile
from mlrun.errors import ProjectError
from mlrun.project import PROJECT_KEYS, entry_points, environment, examine, parameters, read, values

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
FILES = Path(__file__).parent / "projects" / "files"
SCHEMA: Any = yamlfile.load(ROOT / "MLproject.schema.yaml")
DEFINITIONS = SCHEMA["$defs"]
VALIDATOR = Draft202012Validator(SCHEMA)


def files(folder: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in sorted((FILES / folder).iterdir())]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory that holds every environment file that the examples name."""
    for name in ("conda.yaml", "python_env.yaml", "requirements.txt"):
        (tmp_path / name).touch()
    return tmp_path


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", files("good"))
def test_a_good_file_passes_both(path: Path, project: Path) -> None:
    (project / "MLproject").write_bytes(path.read_bytes())
    understood, findings = examine(project)
    assert understood is not None
    assert [finding for finding in findings if finding.level == "error"] == []
    assert [error.message for error in VALIDATOR.iter_errors(yamlfile.load(path))] == []


@pytest.mark.parametrize("path", files("bad"))
def test_a_bad_file_fails_both(path: Path, project: Path) -> None:
    (project / "MLproject").write_bytes(path.read_bytes())
    first = path.read_text().splitlines()[0].removeprefix("# ")
    kind, _, expected = (
        first.partition(": ") if first.startswith(("semantic: ", "syntax: ")) else ("", "", first)
    )
    with pytest.raises(ProjectError) as caught:
        read(project)
    error = caught.value
    assert (f"{error} -- hint: {error.hint}" if error.hint else str(error)) == expected
    if kind != "syntax":
        assert VALIDATOR.is_valid(yamlfile.load(path)) == (kind == "semantic")


def test_the_schema_names_the_keys_that_the_reader_knows() -> None:
    in_schema = {
        "project": SCHEMA,
        "docker_env": DEFINITIONS["docker"],
        "environment": DEFINITIONS["environment"],
        "entry point": DEFINITIONS["entryPoint"],
        "parameter": DEFINITIONS["parameter"]["anyOf"][1],
        "data": DEFINITIONS["paths"]["items"]["anyOf"][1],
        "resources": DEFINITIONS["resources"],
        "repro": DEFINITIONS["repro"],
    }
    in_reader = {
        "project": PROJECT_KEYS,
        "docker_env": environment.DOCKER_KEYS,
        "environment": environment.IN_PLACE_KEYS,
        "entry point": entry_points.ENTRY_POINT_KEYS,
        "parameter": parameters.PARAMETER_KEYS,
        "data": entry_points.DATA_KEYS,
        "resources": entry_points.RESOURCE_KEYS,
        "repro": values.REPRO_KEYS,
    }
    assert {where: set(node["properties"]) for where, node in in_schema.items()} == {
        where: set(keys) for where, keys in in_reader.items()
    }


def test_the_schema_offers_the_types_and_kinds_that_the_reader_knows() -> None:
    kinds = DEFINITIONS["paths"]["items"]["anyOf"][1]["properties"]["kind"]
    assert kinds["examples"] == list(entry_points.DATA_KINDS)
    assert DEFINITIONS["parameterType"]["anyOf"][0]["enum"] == list(parameters.PARAMETER_TYPES)


def test_every_key_is_described() -> None:
    silent = [name for name, node in keys(SCHEMA) if not node.get("description") and "$ref" not in node]
    assert silent == []


def test_every_example_obeys_the_schema_it_stands_in() -> None:
    for name, node in keys(SCHEMA):
        validator = Draft202012Validator({**node, "$defs": DEFINITIONS})
        for example in node.get("examples", []):
            assert validator.is_valid(example), f"{name}: {example}"


def keys(node: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its subschema, wherever it is defined; conditions say nothing new of a key."""
    if isinstance(node, list):
        for item in node:
            yield from keys(item)
    elif isinstance(node, dict):
        for keyword, child in node.items():
            if keyword == "properties":
                yield from child.items()
            if keyword not in ("if", "then", "examples", "dependentSchemas", "noOther"):
                yield from keys(child)
