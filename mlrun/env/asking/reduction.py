"""Lists that no longer resolve as a whole, cut down to what the code imports, then loosened.

For the list of a whole machine (`Asked.exported`) and for any other whose resolution fails. Each step gives a
smaller wish than the one before and says so in `adaptations`; which step is tried when is decided elsewhere.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mlrun.env.asking import imports
from mlrun.env.asking.conda_names import lookup
from mlrun.env.asking.inference import top_of
from mlrun.env.asking.module_names import holds_known_module
from mlrun.env.asking.pypi_names import canonical, name_of, words
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlrun.env.values import Asked, Requirement, Site

_PIN = re.compile(r"={2,3}\s*(?P<version>[\w.!+*-]+)")
_MOST_NAMES = 12
_ANY_PATCH = "any patch of the pinned minor version"
_URL = re.compile(r"https?://[^\s`'\"]+")
_NO_SUCH_HOST = re.compile(r"Could not resolve host: ([\w.-]+)")
_NO_CONNECTION = re.compile(r"dns error|client error \(Connect\)|timed out|unreachable")
_REPOSITORY = re.compile(
    r"(?P<name>[\w.-]+)(?P<extras>\[[^\]]*\])?\s*@\s*(?:git\+)?(?P<url>https?://[^\s;]+)(?:\s*;(?P<marker>.*))?"
)
_VERSION_IN_URL = re.compile(r"(?:@|/|-)v?(\d+\.\d+(?:\.\d+)?)(?=$|#|[-.](?:zip|tar|whl|py|cp))")
_MIRRORS = words(
    """
    mirror.baidu.com mirrors.163.com mirrors.aliyun.com mirrors.cloud.tencent.com
    mirrors.sustech.edu.cn mirrors.tuna.tsinghua.edu.cn mirrors.ustc.edu.cn pypi.douban.com pypi.doubanio.com
    pypi.mirrors.ustc.edu.cn
    pypi.tuna.tsinghua.edu.cn repo.huaweicloud.com
    """
)
"""Public mirrors of PyPI, which hold nothing else: those of https://mirrorz.org/list/pypi and their like."""
_PUBLIC = _MIRRORS | words(
    """
    data.dgl.ai data.pyg.org developer.download.nvidia.com download.openmmlab.com download.pytorch.org
    pypi.anaconda.org pypi.ngc.nvidia.com pypi.nvidia.com pypi.org pytorch-geometric.com
    storage.googleapis.com test.pypi.org wheels.vllm.ai
    """
)
"""Indexes and lists of wheels beside PyPI whose packages PyPI has too; a private index is never given up,
since a stranger's package of the same name would come in its place."""
_BOUND_TOGETHER = words(
    """
    click flask grpcio h5py itsdangerous jinja2 joblib keras markupsafe numba numpy pandas protobuf pyarrow
    pydantic scipy sqlalchemy typing-extensions werkzeug
    """
)
"""Packages whose versions others are built or written against, often without a word of it."""


def shrinking(asked: Asked, site: Site) -> Iterator[Asked]:
    """All that can be tried in place of `asked`, from the nearest to the loosest."""
    current = asked
    for smaller in (without_guesses, reduced):
        if (following := smaller(current, site)) is not None:
            current = following
            yield current
    while following := loosened(current, site):
        current = following
        yield current


def without_guesses(asked: Asked, site: Site) -> Asked | None:  # noqa: ARG001  the seam of `reduced`
    """The same without what was only guessed: imports of which nothing is known but their name."""
    guessed = tuple(item for item in asked.requirements if _is_guess(item))
    if not guessed:
        return None
    kept = tuple(item for item in asked.requirements if item not in guessed)
    said = f"left out what the sources import and no index may have under that name: {_listed(guessed)}"
    return replace(asked, requirements=kept, adaptations=(*asked.adaptations, said))


def _is_guess(item: Requirement) -> bool:
    return item.place.file.endswith((".py", ".ipynb")) and not holds_known_module(item.text)


def without_unreachable(asked: Asked, failure: str) -> tuple[Asked, str] | None:
    """The same without what a resolution could not reach, and a sentence; None where nothing can be done.

    `failure` is what the resolver said. Public indexes beside PyPI are left out, as pip goes on without them
    as well, and a mirror of PyPI gives way to the index that is used here. A well-known package from a
    repository is taken from the index; an unknown one is not, since its name may be a stranger's there.
    """
    hosts = _unreachable(failure)
    gone = [option for option in asked.options if _is_further_index(option) and _host(option) in hosts]
    items = [_from_index(item, hosts) for item in asked.requirements]
    moved = [new.text for old, new in zip(asked.requirements, items, strict=True) if old is not new]
    if not gone and not moved:
        return None
    kept = tuple(option for option in asked.options if option not in gone)
    said = []
    if gone:
        names = sorted({str(_host(option)) for option in gone})
        said.append(f"without {', '.join(names)}, which cannot be reached")
    if moved:
        said.append(f"with {', '.join(moved)} from the index, since the repository cannot be reached")
    return replace(asked, options=kept, requirements=tuple(items)), "; ".join(said)


def under_its_own_name(asked: Asked, unknown: str) -> tuple[Asked, str] | None:
    """The same where no index has the package `unknown`, since that is conda's name for it, and a sentence.

    It is taken as what PyPI calls it, or left out where it is there in any case; None where conda's names say
    nothing of it. `conda list`, saved as a list of requirements, has such names.
    """
    found = lookup(unknown)
    if found.fate not in ("renamed", "bundled", "platform", "conda"):
        return None
    items: list[Requirement] = []
    for item in asked.requirements:
        name = name_of(item.text) or ""
        if canonical(name) != canonical(unknown):
            items.append(item)
        elif found.fate == "renamed":
            items += [replace(item, text=_named(new, item.text[len(name) :])) for new in found.names]
    if tuple(items) == asked.requirements:
        return None
    said = f"{unknown} is taken as {', '.join(found.names)}, its name outside conda"
    if found.fate != "renamed":
        said = f"without {unknown}, a package of conda's that wheels, Python or the system bring along"
    return replace(asked, requirements=tuple(items)), said


def _named(new: str, rest: str) -> str:
    """`new` can end in a marker of its own, which then is the one that counts."""
    name, semicolon, marker = new.partition(" ;")
    return f"{name}{rest.partition(';')[0].rstrip()} ;{marker}" if semicolon else new + rest


def _unreachable(failure: str) -> set[str]:
    hosts = set(_NO_SUCH_HOST.findall(failure))
    if _NO_CONNECTION.search(failure):
        hosts |= {host for url in _URL.findall(failure) if (host := urlsplit(url).hostname)}
    return hosts


def _from_index(item: Requirement, hosts: set[str]) -> Requirement:
    """`name @ git+https://…@v1.2` by its name and version, where its host is gone and the name well known."""
    match = _REPOSITORY.fullmatch(item.text)
    if match is None or urlsplit(match["url"]).hostname not in hosts or not holds_known_module(match["name"]):
        return item
    version = _VERSION_IN_URL.search(match["url"])
    text = match["name"] + (match["extras"] or "") + (f"=={version[1]}" if version else "")
    return replace(item, text=text + (f" ;{match['marker']}" if match["marker"] else ""))


def _is_further_index(option: tuple[str, str]) -> bool:
    name, host = option[0], _host(option)
    return (name in ("extra-index-url", "find-links") and host in _PUBLIC) or (
        name == "index-url" and host in _MIRRORS
    )


def _host(option: tuple[str, str]) -> str | None:
    return urlsplit(option[1]).hostname if "://" in option[1] else None


def reduced(asked: Asked, site: Site) -> Asked | None:
    """The same, cut down to what the project's sources import; None where nothing can be cut.

    What is left out and pinned stays as a constraint where its version decides whether others work. Local
    projects, direct URLs and build requirements stay; repositories, which `pip freeze` lists too, do not.
    """
    if not asked.requirements or asked.lock:
        return None
    needed = imports.needed(site.directory, root=top_of(site.directory))
    wanted = {canonical(name) for name in (*needed.names, *needed.optional)}
    if not wanted:
        return None
    kept = tuple(item for item in asked.requirements if _is_kept(item, wanted))
    dropped = tuple(item for item in asked.requirements if not _is_kept(item, wanted))
    if not dropped or not kept:
        return None
    pins = tuple(item for item in dropped if _PIN.search(item.text) and _is_bound(item))
    said = (
        f"cut down to the {len(kept)} of {len(asked.requirements)} requirements that the code imports;"
        f" left out {_listed(dropped)}"
    )
    return replace(
        asked,
        requirements=kept,
        constraints=(*asked.constraints, *pins),
        adaptations=(*asked.adaptations, said),
    )


def loosened(asked: Asked, site: Site) -> Asked | None:  # noqa: ARG001  the seam of `reduced`
    """The same with less of its pins; None where there is nothing to loosen.

    A step each call: first the constraints go, then `==1.19.2` becomes `==1.19.*`, then every pin goes.
    """
    if asked.lock:
        return None
    if asked.constraints:
        said = f"no longer held to the versions of {_listed(asked.constraints)}"
        return replace(asked, constraints=(), adaptations=(*asked.adaptations, said))
    for loosen, how in ((_minor_series, _ANY_PATCH), (_unpinned, "any version")):
        items = tuple(replace(item, text=loosen(item.text)) for item in asked.requirements)
        changed = [old for old, new in zip(asked.requirements, items, strict=True) if old.text != new.text]
        if changed:
            said = f"{how} is taken of {_listed(changed)}"
            nearer = tuple(text for text in asked.adaptations if not text.startswith(_ANY_PATCH))
            return replace(asked, requirements=items, adaptations=(*nearer, said))
    return None


def _is_bound(item: Requirement) -> bool:
    return "[" not in item.text and canonical(name_of(item.text) or "") in _BOUND_TOGETHER


def _is_kept(item: Requirement, wanted: set[str]) -> bool:
    name = name_of(item.text)
    file = " @ " in item.text and " @ git+" not in item.text
    return name is None or canonical(name) in wanted or file


def _minor_series(text: str) -> str:
    """`==1.19.2` as `==1.19.*`; what says no more than that already stays."""
    return _PIN.sub(_series_of, text.partition(" --hash")[0], count=1)


def _series_of(match: re.Match[str]) -> str:
    numbers = re.match(r"v?(\d+)\.(\d+)(?!\.\*$)(?=\.|[a-z+-]|$)", match["version"])
    return f"=={numbers[1]}.{numbers[2]}.*" if numbers else match[0]


def _unpinned(text: str) -> str:
    """Without `==`; a marker stays."""
    wanted, semicolon, marker = text.partition(";")
    return _PIN.sub("", wanted, count=1).strip(" ,") + (f" ;{marker}" if semicolon else "")


def _listed(items: Sequence[Requirement]) -> str:
    """Names, the first dozen of them."""
    names = sorted({name_of(item.text) or item.text for item in items}, key=str.lower)
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
