"""What is known of a run before it is made, what it saw, and what is found instead of making it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.value import value

if TYPE_CHECKING:
    from mlrun.model import Artifact, Determinism, Digest, Environment, Results
    from mlrun.recording import Prepared
    from mlrun.source.listing import Listed


@value
class Case:
    """A run that is about to be made, as far as that is known before its program starts."""

    prepared: Prepared
    environment: Environment
    inputs: tuple[Artifact, ...] = ()
    determinism: Determinism | None = None


@value
class Key:
    """The digest of all that is known to decide a run's result; `code` are the files of the source in it.

    `inputs` are the digests of what goes in, by path, so that a change meanwhile is seen.
    """

    digest: Digest
    code: tuple[Listed, ...] = ()
    inputs: tuple[tuple[str, Digest | None], ...] = ()


@value
class Sight:
    """Some files of a folder as a run read them: `digest` is that of the folder in which only they lie.

    Of a few files, `each` has the digests, so that it can be said which changed.
    """

    folder: str
    names: tuple[str, ...]
    digest: Digest
    each: tuple[Digest, ...] = ()


@value
class Made:
    """A file that a run wrote and nobody declared; `stored` is true when its bytes are in the object store.

    What was only ever `appended` to is a log: who adds to it later changes nothing for this run.
    """

    path: str
    digest: Digest
    executable: bool = False
    stored: bool = False
    appended: bool = False


@value
class Guard:
    """What a run saw beyond its key, and left behind: a later one that would see otherwise is no hit.

    Paths that lie in the checkout are relative to the project's folder, others absolute. `names` are digests
    of the names in folders that it listed; `absent` is what it looked for and did not find, `found` what it
    looked at without reading it, with what that was; `ways` are links that it went through, and where they
    lead. `whole` is the digest of all that lies in the checkout, for a
    run of which not all of this is known. `executable` are declared outputs (single files) that can be
    executed.
    """

    reads: tuple[Sight, ...] = ()
    made: tuple[Made, ...] = ()
    names: tuple[tuple[str, Digest], ...] = ()
    absent: tuple[str, ...] = ()
    found: tuple[tuple[str, str], ...] = ()
    ways: tuple[tuple[str, str], ...] = ()
    whole: Digest | None = None
    executable: tuple[str, ...] = ()


@value
class Return:
    """Something that is to be put back: where, what, and whether something else lies there now."""

    path: str
    digest: Digest
    tree: bool = False
    executable: bool = False
    replaces: bool = False


@value
class Hit:
    """What an earlier run came to, and which of its outputs are not there any more."""

    results: Results
    returns: tuple[Return, ...] = ()


@value
class Miss:
    """No run can stand in for this one; `why` says it where there was one that might have."""

    why: str | None = None
