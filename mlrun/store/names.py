"""What a run is called: an id for machines, and a name for people.

Ids are random rather than ordered by time: people type the first few digits, and those of neighbours in
time must differ.
"""

from __future__ import annotations

import os

_ADJECTIVES = """
    agile amber ample apt arctic autumn azure balmy bold brave breezy bright brisk calm candid careful
    cheery clear clever cobalt coral cosy crisp curious daring deft dusky eager early earnest easy even
    fabled fair fleet fond frosty gentle giddy gilded glad golden grand hardy hasty hearty honest humble
    ivory jade jaunty jolly keen kind lively lofty loyal lucid lunar mellow merry mighty mild misty modest
    mossy neat nimble noble olive patient placid plucky polar proud quick quiet rapid rosy royal ruby
    rustic sandy serene sharp silent silver sleek snowy solar spry steady stout sunny swift tidy tranquil
    upbeat velvet vivid warm wise witty woven zesty
"""
_NOUNS = """
    acorn alder anchor ant aspen badger bay beacon beaver birch bison brook canyon cedar cliff clover comet
    condor cove crane creek crow curlew dale delta dolphin dove dune eagle egret elk elm ember falcon fern
    finch fjord fox gale gannet glacier glen grove gull hare harbor hawk hazel heron hill ibex ibis island
    ivy jay kestrel kite lagoon lake larch lark linden lynx maple marmot marten meadow mesa mole moor moth
    newt oak orchid oriole osprey otter owl panda peak petrel pine plover pond puffin quail rain raven reef
    ridge river robin seal sparrow spruce stoat stork summit swan tern thistle thrush tide trout tulip
    valley vole willow wren yak
"""


def new_id() -> str:
    """32 hexadecimal digits, which is also a valid id of an MLflow run."""
    return os.urandom(16).hex()


def new_name(randomness: bytes | None = None) -> str:
    """`brave-otter`; not unique, for it is only for people. `randomness` is at least four bytes."""
    drawn = int.from_bytes(os.urandom(4) if randomness is None else randomness, "big")
    adjectives, nouns = _ADJECTIVES.split(), _NOUNS.split()
    rest, adjective = divmod(drawn, len(adjectives))
    return f"{adjectives[adjective]}-{nouns[rest % len(nouns)]}"
