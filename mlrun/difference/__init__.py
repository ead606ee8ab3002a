"""Two runs compared: what went in, what came out, and what most likely explains the difference.

The order of the causes, and why, is said at `values.CAUSES`. Content that a record names only by digest is
compared where it can still be read: rows of a table, files of a folder, lines of code. Nothing is fetched
from a network, and nothing is written but a scratch folder in the cache.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from mlrun.contents import Contents
from mlrun.difference import call, causes, code, data, results, surroundings
from mlrun.difference.values import ASIDE, CAUSES, RESULTS, Cause, Difference, Item, Section
from mlrun.difference.whole import whole
from mlrun.errors import MlrunError, SourceError
from mlrun.files import remove_tree
from mlrun.value import draft

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.files import Cache
    from mlrun.model import Caller, EnvironmentFacts, RunRecord
    from mlrun.source.between import Trees
    from mlrun.store import Store

__all__ = ["ASIDE", "CAUSES", "RESULTS", "Cause", "Difference", "Item", "Section", "difference", "whole"]


def difference(
    before: RunRecord, after: RunRecord, *, store: Store, cache: Cache, caller: Caller, patch: bool = False
) -> Difference:
    """Compare two runs, pipelines as wholes; with `patch`, the text of what differs in the code too.

    Whatever cannot be read any more is told as such. Raises StoreError where the cache cannot be written.
    """
    scratch = cache.temporary / f"difference.{os.getpid()}.{time.monotonic_ns()}"
    try:
        return _Comparison(
            before=whole(before, store),
            after=whole(after, store),
            store=store,
            cache=cache,
            caller=caller,
            scratch=scratch,
        ).run(patch=patch)
    finally:
        if scratch.exists():
            remove_tree(scratch, trash=cache.trash)


@draft
class _Comparison:
    """One call of `difference`. The scratch repository is made when it is first needed."""

    before: RunRecord
    after: RunRecord
    store: Store
    cache: Cache
    caller: Caller
    scratch: Path
    trees: Trees | None = None

    def run(self, *, patch: bool) -> Difference:
        before, after = self.before, self.after
        differ = before.source and after.source and before.source.tree != after.source.tree
        compared = code.code(before, after, self.trees_of_both() if differ else None, patch=patch)
        contents = Contents(self.store.objects, self.scratch, self.trees_of_both, self.cache)
        found = (
            data.data(before, after, contents),
            compared.code,
            call.parameters(before, after, same_content=data.same_content(before, after)),
            *surroundings.environment(before, after, self.locks()),
            call.variables(before, after),
            call.command(before, after),
            surroundings.host(before, after),
            compared.project,
            results.status(before, after),
            results.metrics(before, after),
            results.outputs(before, after),
            results.cost(before, after),
            results.circumstances(before, after),
        )
        order = (*CAUSES, *RESULTS, *ASIDE)
        sections = tuple(sorted(found, key=lambda section: order.index(section.kind)))
        verdict, unknown = causes.verdict_of(sections)
        return Difference(
            before=before,
            after=after,
            verdict=verdict,
            causes=causes.causes_of(sections),
            sections=sections,
            unknown=unknown,
            patch=compared.patch,
        )

    def trees_of_both(self) -> Trees | None:
        """The sources as git trees; None where there is no git, or a record has no source."""
        from mlrun.source.between import Trees

        ours, theirs = self.before.source, self.after.source
        if ours and theirs and not self.scratch.exists():
            self.cache.prepare()
            self.scratch.mkdir(parents=True)
            with contextlib.suppress(SourceError):
                self.trees = Trees(
                    self.scratch, (ours, theirs), self.store.objects, caller=self.caller, cache=self.cache
                )
        return self.trees

    def locks(self) -> tuple[str | None, str | None]:
        """The texts of both locks, where they or what was made of them differ and they are at hand."""
        ours, theirs = self.before.environment, self.after.environment
        if not ours or not theirs or (ours.lock, ours.key) == (theirs.lock, theirs.key):
            return None, None
        return self.lock(ours), self.lock(theirs)

    def lock(self, environment: EnvironmentFacts) -> str | None:
        """The text of a lock that is kept."""
        if environment.lock is None or environment.lock_kind != "pylock.toml":
            return None
        with contextlib.suppress(MlrunError):
            return self.store.objects.read_bytes(environment.lock).decode("utf-8", "replace")
        return None
