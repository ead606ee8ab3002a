"""pip's settings, as uv gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlrun.env.pip_settings import fingerprint, flags_for_uv, for_uv, without_credentials
from mlrun.model import Caller

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pip_conf(tmp_path: Path) -> Path:
    path = tmp_path / "home/.config/pip/pip.conf"
    path.parent.mkdir(parents=True)
    return path


def caller(tmp_path: Path, **variables: str) -> Caller:
    """Somebody whose only configuration is what the test writes."""
    base = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_DIRS": str(tmp_path / "etc")}
    return Caller(directory=str(tmp_path), variables={**base, **variables})


def own(tmp_path: Path, **variables: str) -> dict[str, str]:
    """What is translated, without what the machine's own /etc/pip.conf may add."""
    system = for_uv(caller(tmp_path, HOME=str(tmp_path / "nobody")), ())
    found = for_uv(caller(tmp_path, **variables), ())
    return {name: value for name, value in found.items() if system.get(name) != value}


def test_the_user_s_configuration_file_is_translated(tmp_path: Path, pip_conf: Path) -> None:
    (tmp_path / "wheels").mkdir()
    pip_conf.write_text(
        "[global]\n"
        "index-url = https://one.example/simple\n"
        f"find-links = {tmp_path}/wheels\n    {tmp_path}/gone\n"
        "extra_index_url = https://two.example/simple\n    file:///no/such/folder\n"
        "trusted-host = one.example\n"
        "default-timeout = 77\n"
        "[install]\nno-index = true\n"
    )
    assert own(tmp_path) == {
        "UV_DEFAULT_INDEX": "https://one.example/simple",
        "UV_FIND_LINKS": f"{tmp_path}/wheels",
        "UV_EXTRA_INDEX_URL": "https://two.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_INSECURE_HOST": "one.example",
        "UV_HTTP_TIMEOUT": "77",
    }


def test_variables_count_more_than_files(tmp_path: Path, pip_conf: Path) -> None:
    pip_conf.write_text("[global]\nindex-url = https://file.example/simple\n")
    translated = own(tmp_path, PIP_INDEX_URL="https://variable.example/simple")
    assert translated["UV_DEFAULT_INDEX"] == "https://variable.example/simple"


def test_the_named_configuration_file_counts_most_and_hides_the_user_s(
    tmp_path: Path, pip_conf: Path
) -> None:
    pip_conf.write_text("[global]\nindex-url = https://user.example/simple\npre = yes\n")
    named = tmp_path / "named.conf"
    named.write_text("[global]\nindex-url = https://named.example/simple\n")
    translated = own(tmp_path, PIP_CONFIG_FILE=str(named))
    assert translated["UV_DEFAULT_INDEX"] == "https://named.example/simple"
    assert "UV_PRERELEASE" not in translated


def test_the_null_device_as_configuration_file_turns_all_off(tmp_path: Path, pip_conf: Path) -> None:
    pip_conf.write_text("[global]\nindex-url = https://user.example/simple\n")
    assert for_uv(caller(tmp_path, PIP_CONFIG_FILE="/dev/null"), ()) == {}


def test_what_the_user_set_for_uv_is_left_alone(tmp_path: Path, pip_conf: Path) -> None:
    pip_conf.write_text("[global]\nindex-url = https://pip.example/simple\ncert = /ca.pem\n")
    translated = for_uv(caller(tmp_path, UV_INDEX_URL="https://uv.example", SSL_CERT_FILE="/mine.pem"), ())
    assert "UV_DEFAULT_INDEX" not in translated
    assert "SSL_CERT_FILE" not in translated


def test_options_of_requirement_files_count_and_their_variables_are_expanded(tmp_path: Path) -> None:
    options = (("index-url", "https://${USER_NAME}:${TOKEN}@x.example/simple"), ("pre", ""))
    someone = caller(tmp_path, PIP_CONFIG_FILE="/dev/null", USER_NAME="ada", TOKEN="t0ken")
    assert for_uv(someone, options) == {
        "UV_DEFAULT_INDEX": "https://ada:t0ken@x.example/simple",
        "UV_PRERELEASE": "allow",
    }


def test_settings_without_a_variable_of_uv_become_flags(tmp_path: Path) -> None:
    someone = caller(
        tmp_path,
        PIP_CONFIG_FILE="/dev/null",
        PIP_ONLY_BINARY="numpy,scipy",
        PIP_NO_BINARY=":none:",
        PIP_NO_INDEX="1",
    )
    assert flags_for_uv(someone, (("no-binary", "six"),)) == (
        "--no-index",
        "--no-binary=six",
        "--only-binary=numpy",
        "--only-binary=scipy",
    )


@pytest.mark.parametrize(
    "text",
    ["[global\nindex-url", "\0\0\0", "[global]\nindex-url = %(x)s ${y}\n[global]\n", "no section = 1\n"],
)
def test_a_broken_configuration_file_breaks_nothing(tmp_path: Path, pip_conf: Path, text: str) -> None:
    pip_conf.write_text(text)
    for_uv(caller(tmp_path), ())


def test_a_fingerprint_changes_with_settings_that_decide_and_with_no_other(
    tmp_path: Path, pip_conf: Path
) -> None:
    before = fingerprint(caller(tmp_path))
    assert fingerprint(caller(tmp_path, PIP_NO_CACHE_DIR="1", UV_CACHE_DIR="/x", LANG="C")) == before
    assert fingerprint(caller(tmp_path, PIP_PRE="1")) != before
    assert fingerprint(caller(tmp_path, UV_EXCLUDE_NEWER="2024-01-01")) != before
    pip_conf.write_text("[global]\npre = 1\n")
    assert fingerprint(caller(tmp_path)) != before


def test_a_fingerprint_changes_with_the_lists_that_settings_name(tmp_path: Path, pip_conf: Path) -> None:
    limits = tmp_path / "limits.txt"
    pip_conf.write_text(f"[global]\nconstraint = {limits}\n")
    callers = [caller(tmp_path), caller(tmp_path, PIP_CONSTRAINT="limits.txt", PIP_CONFIG_FILE="/dev/null")]
    callers += [caller(tmp_path, UV_CONSTRAINT=str(limits), PIP_CONFIG_FILE="/dev/null")]
    limits.write_text("alpha==1\n")
    before = [fingerprint(each) for each in callers]
    limits.write_text("alpha==2\n")
    assert all(fingerprint(each) != first for each, first in zip(callers, before, strict=True))


def test_a_fingerprint_holds_no_credentials_so_that_a_new_token_changes_nothing(tmp_path: Path) -> None:
    first = fingerprint(caller(tmp_path, PIP_INDEX_URL="https://u:one@x.example/simple"))
    second = fingerprint(caller(tmp_path, PIP_INDEX_URL="https://u:two@x.example/simple"))
    assert first == second
    assert "one" not in "".join(first).replace("none", "")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://u:p@h/x", "https://h/x"),
        ("https://u:p@ss@h/x", "https://h/x"),
        ("git+https://tok@h/x@v1", "git+https://h/x@v1"),
        ('"https://a@b/c" "https://d:e@f/g"', '"https://b/c" "https://f/g"'),
        ("https://h/x@v1", "https://h/x@v1"),
        ("user@example.org", "user@example.org"),
    ],
)
def test_credentials_are_taken_out_of_urls(text: str, clean: str) -> None:
    assert without_credentials(text) == clean
