"""What is known of the machine, the user and the CI system, from trees of files and sets of variables."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mlrun import host
from mlrun.model import CiFacts

if TYPE_CHECKING:
    from pathlib import Path

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The files of a machine in a container of cgroup v2, with a GPU."""
    write(
        tmp_path / "etc/os-release", 'NAME="Debian GNU/Linux"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
    )
    write(tmp_path / "proc/cpuinfo", "processor\t: 0\nmodel name\t: Some  CPU @ 2.40GHz\n")
    write(tmp_path / "proc/self/cgroup", "0::/jobs/one\n")
    write(tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA L4 \nIRQ: 3\n")
    write(tmp_path / "sys/class/drm/card1/device/product_name", "Radeon Pro\n")
    write(tmp_path / "sys/class/drm/card1-HDMI-A-1/device/product_name", "a screen\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@on_linux
def test_a_machine_is_described_from_its_files(machine: Path) -> None:
    write(machine / "sys/fs/cgroup/jobs/one/memory.max", "1048576\n")
    write(machine / "sys/fs/cgroup/jobs/one/cpu.max", "50000 100000\n")
    facts = host.describe(root=str(machine))
    assert (facts.os, facts.cpu) == ("Debian GNU/Linux 12 (bookworm)", "Some CPU @ 2.40GHz")
    assert (facts.cores, facts.memory) == (1, 1048576)
    assert facts.gpus == ("NVIDIA L4", "Radeon Pro")
    assert (facts.name, facts.machine) == (os.uname().nodename, os.uname().machine)


@on_linux
def test_the_tightest_limit_counts_wherever_it_stands(machine: Path) -> None:
    write(machine / "sys/fs/cgroup/jobs/one/memory.max", "max\n")
    write(machine / "sys/fs/cgroup/jobs/memory.max", "2097152\n")
    write(machine / "sys/fs/cgroup/memory.max", "4194304\n")
    assert host.describe(root=str(machine)).memory == 2097152


@on_linux
def test_limits_of_the_first_cgroups_count_too_though_the_container_hides_the_path(machine: Path) -> None:
    write(machine / "proc/self/cgroup", "4:memory:/docker/4f\n1:cpu,cpuacct:/docker/4f\n0::/docker/4f\n")
    write(machine / "sys/fs/cgroup/memory/memory.limit_in_bytes", "3145728\n")
    write(machine / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n")
    write(machine / "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    facts = host.describe(root=str(machine))
    assert (facts.memory, facts.cores) == (3145728, 1)


@on_linux
def test_without_a_limit_it_is_the_whole_machine(machine: Path) -> None:
    write(machine / "sys/fs/cgroup/cpu.max", "max 100000\n")
    write(machine / "sys/fs/cgroup/memory.max", "9223372036854771712\n")
    facts = host.describe(root=str(machine))
    assert facts.cores == len(os.sched_getaffinity(0))
    assert facts.memory == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_mac_says_its_version(tmp_path: Path) -> None:
    write(
        tmp_path / "System/Library/CoreServices/SystemVersion.plist",
        "<dict>\n<key>ProductVersion</key>\n\t<string>14.5</string>\n</dict>",
    )
    assert host.describe(root=str(tmp_path)).os == "macOS 14.5"


def test_a_machine_that_tells_nothing_still_has_a_name_and_a_system(tmp_path: Path) -> None:
    facts = host.describe(root=str(tmp_path))
    assert facts.name
    assert facts.os == f"{os.uname().sysname} {os.uname().release}"
    assert facts.gpus == ()


def test_this_machine_can_be_described() -> None:
    facts = host.describe()
    assert facts.cores
    assert facts.memory
    assert facts.cores <= (os.cpu_count() or 1)


def test_the_user_is_the_one_of_the_variables_or_of_the_system() -> None:
    assert host.user({"USER": "ada"}) == "ada"
    assert host.user({}) == pwd.getpwuid(os.getuid()).pw_name


GITHUB = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.example",
    "GITHUB_REPOSITORY": "ada/wine",
    "GITHUB_RUN_ID": "42",
    "GITHUB_WORKFLOW": "train",
    "GITHUB_JOB": "fit",
    "GITHUB_REF": "refs/pull/7/merge",
    "GITHUB_ACTOR": "ada",
    "GITHUB_TOKEN": "secret",
}


def test_a_github_run_is_named_with_its_address_and_no_token() -> None:
    assert host.ci(GITHUB) == CiFacts(
        provider="GitHub Actions",
        run_url="https://github.example/ada/wine/actions/runs/42",
        facts=(
            ("workflow", "train"),
            ("job", "fit"),
            ("ref", "refs/pull/7/merge"),
            ("actor", "ada"),
            ("pull_request", "7"),
        ),
    )


@pytest.mark.parametrize(
    ("variables", "provider", "url", "facts"),
    [
        (
            {"GITLAB_CI": "true", "CI_JOB_URL": "https://gitlab.example/j/1", "CI_MERGE_REQUEST_IID": "3"},
            "GitLab CI",
            "https://gitlab.example/j/1",
            {"pull_request": "3"},
        ),
        (
            {
                "JENKINS_URL": "https://j.example/",
                "BUILD_URL": "https://me:pw@j.example/job/x/1/",
                "JOB_NAME": "x",
            },
            "Jenkins",
            "https://j.example/job/x/1/",
            {"workflow": "x"},
        ),
        (
            {"CIRCLECI": "true", "CIRCLE_BUILD_URL": "https://c.example/1", "CIRCLE_BRANCH": "main"},
            "CircleCI",
            "https://c.example/1",
            {"ref": "main"},
        ),
        (
            {
                "TF_BUILD": "True",
                "SYSTEM_COLLECTIONURI": "https://dev.azure.example/ada/",
                "SYSTEM_TEAMPROJECT": "my wine",
                "BUILD_BUILDID": "9",
            },
            "Azure Pipelines",
            "https://dev.azure.example/ada/my%20wine/_build/results?buildId=9",
            {},
        ),
        (
            {
                "BUILDKITE": "true",
                "BUILDKITE_BUILD_URL": "https://b.example/1",
                "BUILDKITE_JOB_ID": "j",
                "BUILDKITE_PULL_REQUEST": "false",
            },
            "Buildkite",
            "https://b.example/1#j",
            {},
        ),
        (
            {"TRAVIS": "true", "TRAVIS_JOB_WEB_URL": "https://t.example/1", "TRAVIS_BRANCH": "main"},
            "Travis CI",
            "https://t.example/1",
            {"ref": "main"},
        ),
        (
            {"BITBUCKET_BUILD_NUMBER": "5", "BITBUCKET_REPO_FULL_NAME": "ada/wine"},
            "Bitbucket Pipelines",
            "https://bitbucket.org/ada/wine/pipelines/results/5",
            {"number": "5"},
        ),
        ({"TEAMCITY_VERSION": "2024.1", "BUILD_NUMBER": "8"}, "TeamCity", None, {"number": "8"}),
        (
            {"DRONE": "true", "DRONE_BUILD_LINK": "https://d.example/1", "DRONE_PULL_REQUEST": "2"},
            "Drone",
            "https://d.example/1",
            {"pull_request": "2"},
        ),
        (
            {"CI": "woodpecker", "CI_WORKFLOW_NAME": "test", "CI_PIPELINE_URL": "https://w.example/1"},
            "Woodpecker",
            "https://w.example/1",
            {"workflow": "test"},
        ),
        ({"CI": "true"}, "unknown", None, {}),
    ],
)
def test_each_ci_system_is_known_by_its_variables(
    variables: dict[str, str], provider: str, url: str | None, facts: dict[str, str]
) -> None:
    assert host.ci(variables) == CiFacts(provider=provider, run_url=url, facts=tuple(facts.items()))


@pytest.mark.parametrize("variables", [{}, {"CI": "false"}, {"CI": ""}])
def test_outside_of_ci_there_is_none(variables: dict[str, str]) -> None:
    assert host.ci(variables) is None


def test_asking_imports_nothing_heavy() -> None:
    probe = (
        "import sys; from mlrun import host; host.describe(); host.ci({});"
        "print({'subprocess', 'platform', 'logging', 'urllib.parse'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert answer.stdout == "set()\n"
