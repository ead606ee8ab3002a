"""What the README says is so."""

from __future__ import annotations

from pathlib import Path

from mlrun.cli import COMMANDS
from tests import reference

ROOT = Path(__file__).parent.parent


def test_the_reference_is_what_the_code_says() -> None:
    text = reference.README.read_text()
    assert reference.current(text) == text, "run `python -m tests.reference`"


def test_ci_runs_the_commands_that_the_readme_gives() -> None:
    readme, ci = reference.README.read_text(), (ROOT / ".ci/run").read_text()
    for command in ("python3 -m venv .venv", ".venv/bin/pip install -q -e '.[dev]'", ".venv/bin/pytest"):
        assert command in readme
        assert command in ci


def test_every_command_has_help_with_examples() -> None:
    for name in COMMANDS:
        text = reference.help_of(name)
        assert "Examples:" in text or name == "env", name


def test_every_link_in_the_documents_leads_somewhere() -> None:
    import re

    for document in ("README.md", "ARCHITECTURE.md", "benchmarks/README.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / document).read_text()):
            assert (ROOT / document).parent.joinpath(target).exists(), f"{document}: {target}"
