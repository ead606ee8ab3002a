"""Where a run happens: the machine, the user, and the CI system, from files and variables only.

Every run asks this, so nothing heavy is started or imported. A limit that a container or a batch system set
counts as the machine's own: it is what the program could use.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from mlrun.model import CiFacts, HostFacts
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_START = 1 << 12  # bytes of a /proc file that we need; on 128 cores, all of cpuinfo is slow to produce


def describe(*, root: str = "/") -> HostFacts:
    """This machine. `root` is where `/proc`, `/sys` and `/etc` lie."""
    system = os.uname()
    return HostFacts(
        name=system.nodename,
        os=_system_name(root) or f"{system.sysname} {system.release}",
        machine=system.machine,
        cpu=_cpu_name(root),
        cores=_cores(root),
        memory=_memory(root),
        gpus=tuple(_gpus(root)),
    )


def cores() -> int | None:
    """How many cores we may use at once, of this machine."""
    return _cores("/")


def utf8_locale() -> str | None:
    """The C locale in UTF-8, where there is one: built into glibc from 2.35 on and into musl, else a folder.

    (https://sourceware.org/glibc/wiki/Proposals/C.UTF-8)
    """
    if sys.platform != "linux":
        return None
    try:
        library, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return "C.UTF-8"
    parts = version.split(".")
    if library == "glibc" and [int(part) for part in parts[:2] if part.isdigit()] >= [2, 35]:
        return "C.UTF-8"
    there = any(os.path.isdir(f"/usr/lib/locale/{name}") for name in ("C.utf8", "C.UTF-8"))
    return "C.UTF-8" if there else None


def user(variables: Mapping[str, str]) -> str | None:
    """Who runs it: what the variables say, else what the system knows the user id as."""
    for name in ("LOGNAME", "USER"):
        if variables.get(name):
            return variables[name]
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return None


def ci(variables: Mapping[str, str]) -> CiFacts | None:
    """The CI system that runs us, by the variables that it documents; None outside of any."""
    for provider in _PROVIDERS:
        if _is_set(variables.get(provider.sign)):
            return CiFacts(
                provider=provider.name,
                run_url=_fill(provider.url, variables),
                facts=tuple(_facts(provider, variables)),
            )
    value = variables.get("CI")
    return CiFacts(provider="unknown") if _is_set(value) else None


# --- the machine --------------------------------------------------------------------------------------


def _system_name(root: str) -> str | None:
    """`Debian GNU/Linux 12 (bookworm)`, `macOS 14.5` (os-release(5); Apple's SystemVersion.plist)."""
    for path in ("etc/os-release", "usr/lib/os-release"):
        for line in _read(root, path).splitlines():
            if line.startswith("PRETTY_NAME="):
                return line.removeprefix("PRETTY_NAME=").strip().strip("\"'")
    plist = _read(root, "System/Library/CoreServices/SystemVersion.plist")
    found = re.search(r"<key>ProductVersion</key>\s*<string>(.*?)</string>", plist)
    return f"macOS {found[1]}" if found else None


def _cpu_name(root: str) -> str | None:
    if sys.platform == "darwin":
        from mlrun.process import capture

        return capture(["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], variables={}).text or None
    for line in _read(root, "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name" and value.strip():
            return " ".join(value.split())
    return None


def _cores(root: str) -> int | None:
    """How many cores we may use at once: by affinity, and by the share of time that a cgroup has."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    shares = [int(quota) / int(period) for quota, period in _cpu_quotas(root)]
    return min([cores, *(max(1, -int(-share // 1)) for share in shares)]) if cores else None


def _cpu_quotas(root: str) -> Iterator[tuple[str, str]]:
    """(microseconds allowed, of so many): `cpu.max` of cgroup v2, or its two forerunners of v1."""
    for folder in _cgroups(root, "cpu"):
        limit = _read(root, f"{folder}/cpu.max").split()
        if not limit:
            limit = [_read(root, f"{folder}/cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
        if limit[0].isdigit() and limit[1].isdigit() and int(limit[1]):
            yield limit[0], limit[1]


def _memory(root: str) -> int | None:
    """Bytes that we may use: the machine's, or less where a cgroup says so."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
    for folder in _cgroups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _read(root, f"{folder}/{name}").strip()
            if limit.isdigit():
                memory = min(memory, int(limit))
    return memory


def _cgroups(root: str, controller: str) -> Iterator[str]:
    """The folders of our own control group and all above it: the tightest limit counts (cgroups(7)).

    In a container, the path that the kernel tells may not exist in the mount that is seen there; the
    mount's top then is our own group.
    """
    for line in _read(root, "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = f"sys/fs/cgroup/{controller}" if controllers else "sys/fs/cgroup"
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            yield "/".join((top, *parts[:depth]))


def _gpus(root: str) -> Iterator[str]:
    """Names as the drivers tell them: NVIDIA's in /proc, those of amdgpu in /sys."""
    folder = "proc/driver/nvidia/gpus"
    for name in _entries(root, folder):
        found = re.search(r"^Model:\s*(.+?)\s*$", _read(root, f"{folder}/{name}/information"), re.MULTILINE)
        if found:
            yield found[1]
    for name in _entries(root, "sys/class/drm"):
        if re.fullmatch(r"card\d+", name):
            product = _read(root, f"sys/class/drm/{name}/device/product_name").strip()
            if product:
                yield product


def _entries(root: str, folder: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(root, folder)))
    except OSError:
        return []


def _read(root: str, path: str) -> str:
    """The start of a small file of the system's; empty where it is not there."""
    try:
        descriptor = os.open(os.path.join(root, path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _START).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


# --- continuous integration ---------------------------------------------------------------------------


@positional_value
class _Provider:
    """`sign` is a variable that no other system sets. `facts` name variables, the first that is set counts.

    Only what is listed here is ever read: tokens lie in the same environment.
    """

    name: str
    sign: str
    url: str
    facts: tuple[tuple[str, str], ...]


_PROVIDERS = (
    _Provider(
        "GitHub Actions",
        "GITHUB_ACTIONS",
        "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}",
        (
            ("workflow", "GITHUB_WORKFLOW"),
            ("job", "GITHUB_JOB"),
            ("number", "GITHUB_RUN_NUMBER"),
            ("event", "GITHUB_EVENT_NAME"),
            ("ref", "GITHUB_REF"),
            ("actor", "GITHUB_ACTOR"),
        ),
    ),
    _Provider(
        "GitLab CI",
        "GITLAB_CI",
        "{CI_JOB_URL}",
        (
            ("workflow", "CI_PIPELINE_NAME"),
            ("job", "CI_JOB_NAME"),
            ("number", "CI_PIPELINE_IID"),
            ("event", "CI_PIPELINE_SOURCE"),
            ("ref", "CI_COMMIT_REF_NAME"),
            ("pull_request", "CI_MERGE_REQUEST_IID"),
            ("actor", "GITLAB_USER_LOGIN"),
        ),
    ),
    _Provider(
        "Jenkins",
        "JENKINS_URL",
        "{BUILD_URL}",
        (
            ("workflow", "JOB_NAME"),
            ("job", "STAGE_NAME"),
            ("number", "BUILD_NUMBER"),
            ("ref", "BRANCH_NAME GIT_BRANCH"),
            ("pull_request", "CHANGE_ID"),
            ("actor", "BUILD_USER_ID CHANGE_AUTHOR"),
        ),
    ),
    _Provider(
        "CircleCI",
        "CIRCLECI",
        "{CIRCLE_BUILD_URL}",
        (
            ("workflow", "CIRCLE_WORKFLOW_ID"),
            ("job", "CIRCLE_JOB"),
            ("number", "CIRCLE_BUILD_NUM"),
            ("ref", "CIRCLE_TAG CIRCLE_BRANCH"),
            ("pull_request", "CIRCLE_PULL_REQUEST"),
            ("actor", "CIRCLE_USERNAME"),
        ),
    ),
    _Provider(
        "Azure Pipelines",
        "TF_BUILD",
        "{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_build/results?buildId={BUILD_BUILDID}",
        (
            ("workflow", "BUILD_DEFINITIONNAME"),
            ("job", "SYSTEM_JOBDISPLAYNAME AGENT_JOBNAME"),
            ("number", "BUILD_BUILDNUMBER"),
            ("event", "BUILD_REASON"),
            ("ref", "BUILD_SOURCEBRANCH"),
            ("pull_request", "SYSTEM_PULLREQUEST_PULLREQUESTNUMBER SYSTEM_PULLREQUEST_PULLREQUESTID"),
            ("actor", "BUILD_REQUESTEDFOR"),
        ),
    ),
    _Provider(
        "Buildkite",
        "BUILDKITE",
        "{BUILDKITE_BUILD_URL}#{BUILDKITE_JOB_ID}",
        (
            ("workflow", "BUILDKITE_PIPELINE_SLUG"),
            ("job", "BUILDKITE_LABEL"),
            ("number", "BUILDKITE_BUILD_NUMBER"),
            ("event", "BUILDKITE_SOURCE"),
            ("ref", "BUILDKITE_TAG BUILDKITE_BRANCH"),
            ("pull_request", "BUILDKITE_PULL_REQUEST"),
            ("actor", "BUILDKITE_BUILD_CREATOR"),
        ),
    ),
    _Provider(
        "Travis CI",
        "TRAVIS",
        "{TRAVIS_JOB_WEB_URL}",
        (
            ("job", "TRAVIS_JOB_NAME"),
            ("number", "TRAVIS_BUILD_NUMBER"),
            ("event", "TRAVIS_EVENT_TYPE"),
            ("ref", "TRAVIS_TAG TRAVIS_BRANCH"),
            ("pull_request", "TRAVIS_PULL_REQUEST"),
        ),
    ),
    _Provider(
        "Bitbucket Pipelines",
        "BITBUCKET_BUILD_NUMBER",
        "https://bitbucket.org/{BITBUCKET_REPO_FULL_NAME}/pipelines/results/{BITBUCKET_BUILD_NUMBER}",
        (
            ("number", "BITBUCKET_BUILD_NUMBER"),
            ("ref", "BITBUCKET_TAG BITBUCKET_BRANCH"),
            ("pull_request", "BITBUCKET_PR_ID"),
        ),
    ),
    _Provider(
        "TeamCity",
        "TEAMCITY_VERSION",
        "{BUILD_URL}",
        (
            ("workflow", "TEAMCITY_PROJECT_NAME"),
            ("job", "TEAMCITY_BUILDCONF_NAME"),
            ("number", "BUILD_NUMBER"),
        ),
    ),
    _Provider(
        "Drone",
        "DRONE",
        "{DRONE_BUILD_LINK}",
        (
            ("workflow", "DRONE_STAGE_NAME"),
            ("job", "DRONE_STEP_NAME"),
            ("number", "DRONE_BUILD_NUMBER"),
            ("event", "DRONE_BUILD_EVENT"),
            ("ref", "DRONE_COMMIT_REF"),
            ("pull_request", "DRONE_PULL_REQUEST"),
            ("actor", "DRONE_COMMIT_AUTHOR"),
        ),
    ),
    _Provider(
        "Woodpecker",
        "CI_WORKFLOW_NAME",
        "{CI_PIPELINE_URL}",
        (
            ("workflow", "CI_WORKFLOW_NAME"),
            ("job", "CI_STEP_NAME"),
            ("number", "CI_PIPELINE_NUMBER"),
            ("event", "CI_PIPELINE_EVENT"),
            ("ref", "CI_COMMIT_REF"),
            ("pull_request", "CI_COMMIT_PULL_REQUEST"),
            ("actor", "CI_COMMIT_AUTHOR"),
        ),
    ),
)


def _facts(provider: _Provider, variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    known = dict(provider.facts)
    for fact, names in known.items():
        for name in names.split():
            if _is_set(variables.get(name)):
                yield fact, variables[name]
                break
    if "pull_request" not in known:
        found = re.match(r"refs/pull/(\d+)/", variables.get(known.get("ref", ""), ""))
        if found:
            yield "pull_request", found[1]


def _fill(template: str, variables: Mapping[str, str]) -> str | None:
    """The address with its variables in place, without credentials; None where one of them is missing."""
    try:
        url = template.format_map(variables)
    except KeyError:
        return None
    return re.sub(r"://[^/@]*@", "://", url.replace(" ", "%20")) or None


def _is_set(value: str | None) -> bool:
    return value is not None and value.lower() not in ("", "0", "false")
