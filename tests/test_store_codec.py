"""The format of `record.json`: what it looks like, that it survives a round trip, what is refused."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrun.errors import StoreError
from mlrun.model import (
    Artifact,
    BoundParameter,
    CiFacts,
    CommandFacts,
    Determinism,
    Digest,
    EnvironmentFacts,
    Failure,
    HostFacts,
    Image,
    Metric,
    Package,
    RunRecord,
    SourceFacts,
    StepFacts,
    StoredFile,
    Usage,
)
from mlrun.store import codec
from mlrun.value import replace

GOLDEN = Path(__file__).parent / "data" / "record-v1.json"
DIGEST = Digest("blake3:" + "7f" * 32)

FULL = RunRecord(
    id="7f3a91c2d4e5f60718293a4b5c6d7e8f",
    name="brave-otter",
    status="killed",
    project="wine",
    target="https://git.example.org/wine.git#models",
    entry_point="main",
    started_at="2026-11-21T08:00:00.123Z",
    mlrun_version="0.1.0",
    tags=(("experiment", "baseline"), ("owner", "Zoë")),
    user="ada",
    ended_at="2026-11-21T08:01:30.623Z",
    duration_s=90.5,
    exit_code=143,
    signal="SIGTERM",
    error=Failure(code="interrupted", message="ended by SIGTERM", hint="run it again"),
    source=SourceFacts(
        kind="git",
        tree="4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        directory="/home/ada/wine",
        subdirectory="models",
        url="https://git.example.org/wine.git",
        version="main",
        commit="0123456789abcdef0123456789abcdef01234567",
        branch="main",
        dirty=True,
        patch=DIGEST,
        untracked=(StoredFile(path="notes.txt", mode="100644", digest=DIGEST, size=12, stored=False),),
    ),
    command=CommandFacts(
        text="python train.py --alpha 0.5 --token ***",
        argv=("bash", "-c", "python train.py --alpha 0.5 --token ***"),
        cwd="models",
    ),
    parameters=(
        BoundParameter(name="alpha", value="0.5", text="0.5", kind="float", origin="command line"),
        BoundParameter(name="data", value="d.csv", text="/home/ada/d.csv", kind="path", origin="default"),
        BoundParameter(
            name="token", value="***", text="***", kind="string", origin="params file", secret=True
        ),
    ),
    environment=EnvironmentFacts(
        kind="venv",
        key=DIGEST,
        asked="python_env.yaml: python 3.11, 1 requirement",
        python="3.11.7",
        python_asked="3.11",
        platform="linux-x86_64",
        lock=DIGEST,
        lock_kind="pylock.toml",
        resolved_at="2026-11-21T07:59:00.000Z",
        as_of="2026-11-20T00:00:00.000Z",
        as_of_why="--as-of",
        adaptations=("resolved as of 2026-11-20: --as-of",),
        image=Image(name="python:3.11", id="sha256:ab", platform="linux/amd64"),
        reused=True,
        build_seconds=1.25,
        packages=(Package(name="numpy", version="2.1.0", source="https://pypi.org/simple"),),
    ),
    env_vars=(("HOME", None), ("OMP_NUM_THREADS", "1")),
    inputs=(
        Artifact(path="d.csv", kind="data", digest=DIGEST, size=11, files=1, parameter="data"),
        Artifact(path="gone.csv", kind="data", digest=None, size=0, files=0, declared=False),
    ),
    outputs=(Artifact(path="plots", kind="figure", digest=DIGEST, size=99, files=2, stored=True, tree=True),),
    metrics=(
        Metric(name="rmse", last=0.71, minimum=0.7, maximum=1.5, count=3, last_step=30),
        Metric(name="loss", last=math.inf, minimum=-math.inf, maximum=math.inf, count=2),
    ),
    resources=Usage(wall_s=90.25, cpu_s=171.5, max_rss_bytes=123456789),
    host=HostFacts(
        name="box",
        os="Linux 6.18",
        machine="x86_64",
        cpu="EPYC",
        cores=2,
        memory=25769803776,
        gpus=("NVIDIA L4",),
    ),
    ci=CiFacts(provider="github", run_url="https://github.com/a/b/actions/runs/1", facts=(("job", "train"),)),
    trigger="ci",
    parents=(("pipeline", "0" * 32),),
    warnings=("`gone.csv` has no digest",),
    observed="shim",
    log=DIGEST,
    determinism=Determinism(
        variables=(("PYTHONHASHSEED", "0"), ("TZ", "UTC")), found=(("MKL_CBWR", "AVX2"),), umask=0o022
    ),
    steps=(
        StepFacts(name="prepare", run="1" * 32, state="cached"),
        StepFacts(name="train", run="2" * 32, needs=("prepare",), state="finished", duration_s=1.5),
    ),
    options=(("jobs", "2"), ("as-of", "2026-11-20")),
)


def decoded(data: bytes) -> RunRecord:
    return codec.decode(data, file="record.json")


def changed(**fields: object) -> bytes:
    """The golden record with other values, as bytes."""
    return json.dumps({**json.loads(GOLDEN.read_bytes()), **fields}).encode()


def test_a_record_is_written_as_the_golden_file() -> None:
    assert codec.dumps(FULL) == GOLDEN.read_text("utf-8")


def test_the_golden_file_is_read_back_whole() -> None:
    assert decoded(GOLDEN.read_bytes()) == FULL


def test_the_digest_in_a_record_is_of_all_the_rest() -> None:
    assert codec.is_unedited(GOLDEN.read_bytes()) is True
    assert codec.is_unedited(changed(exit_code=0, mood="sunny")) is False
    assert codec.is_unedited(changed(digest=None)) is None
    odd = replace(FULL, target=b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert codec.is_unedited(codec.encode(odd)) is True


def test_a_secret_is_masked_whatever_was_handed_over() -> None:
    token = BoundParameter(
        name="t", value="hunter2", text="hunter2", kind="string", origin="default", secret=True
    )
    data = codec.encode(replace(FULL, parameters=(token,)))
    assert b"hunter2" not in data
    assert decoded(data).parameters == (replace(token, value="***", text="***"),)


def test_nan_is_a_text_in_json_and_a_number_again_when_read() -> None:
    data = codec.encode(
        replace(FULL, metrics=(Metric(name="m", last=math.nan, minimum=math.nan, maximum=1.0),))
    )
    assert json.loads(data)["metrics"]["m"]["last"] == "NaN"
    assert math.isnan(decoded(data).metrics[0].last)


def test_bytes_that_are_no_utf8_survive() -> None:
    odd = replace(FULL, target=b"caf\xe9".decode("utf-8", "surrogateescape"))
    data = codec.encode(odd)
    data.decode("utf-8")
    assert decoded(data) == odd


def test_unknown_fields_and_a_newer_minor_version_are_read() -> None:
    assert decoded(changed(schema="mlrun/record/v1.7", mood="sunny")) == FULL


def test_a_newer_major_version_is_refused_with_a_sentence() -> None:
    with pytest.raises(StoreError) as caught:
        decoded(changed(schema="mlrun/record/v2"))
    assert caught.value.code == "newer-record"
    assert "`mlrun/record/v2`, which is newer than this mlrun knows (`mlrun/record/v1`)" in str(caught.value)
    assert caught.value.hint == "upgrade mlrun"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Expecting value"),
        (b'{"schema": "mlrun/record/v1"', "Expecting ','"),
        (b"\xff\xfe", "can't decode"),
        (b"[]", "it must be an object"),
        (b"{}", "`schema` is missing"),
        (b"[" * 100_000, "nested too deeply"),
        (changed(schema="dvc"), "its schema is `dvc`, not `mlrun/record/v1`"),
        (changed(id=7), "`id` must be text"),
        (changed(status="gone"), "`status` must be one of running, finished"),
        (changed(exit_code=True), "`exit_code` must be a whole number"),
        (changed(exit_code=2**80), "`exit_code` must be a whole number"),
        (changed(duration_s="long"), "`duration_s` must be a number"),
        (changed(duration_s=10**400), "int too large"),
        (changed(source={"kind": "git"}), "`source.tree` is missing"),
        (
            changed(source={"kind": "git", "tree": "t", "directory": "d", "commit": 1}),
            "`source.commit` must be",
        ),
        (changed(inputs=[{"path": 3}]), "`inputs[0].path` must be text"),
        (changed(inputs={}), "`inputs` must be a list"),
        (changed(warnings=[1]), "`warnings` must hold texts"),
        (changed(metrics={"m": None}), "`metrics.m` must be an object"),
        (
            changed(parameters={"a": {"value": "1", "type": "t", "from": "afar"}}),
            "`parameters.a.from` must be",
        ),
    ],
)
def test_what_is_no_record_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(StoreError) as caught:
        decoded(data)
    assert caught.value.code == "corrupt-record"
    assert reason in str(caught.value)


# Any text, with bytes that are no UTF-8 as `surrogateescape` leaves them.
texts = st.text(
    st.characters(codec="utf-8")
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"])
)
maybe_texts = st.none() | texts
numbers = st.floats(allow_nan=False)
integers = st.integers(-(2**62), 2**62)
digests = st.just(DIGEST)
pairs = st.dictionaries(texts, texts, max_size=3).map(lambda found: tuple(found.items()))


def some(made: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(made, max_size=2).map(tuple)


def by_name(made: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(made, max_size=3, unique_by=lambda item: item.name).map(tuple)


artifacts = st.builds(
    Artifact,
    path=texts,
    kind=texts,
    digest=st.none() | digests,
    size=integers,
    files=integers,
    declared=st.booleans(),
    stored=st.booleans(),
    tree=st.booleans(),
    parameter=maybe_texts,
)
parameters = st.builds(
    BoundParameter,
    name=texts,
    value=texts,
    text=texts,
    kind=texts,
    origin=st.sampled_from(["command line", "params file", "default", "undeclared"]),
)
metrics = st.builds(
    Metric,
    name=texts,
    last=numbers,
    minimum=numbers,
    maximum=numbers,
    count=integers,
    last_step=st.none() | integers,
)
records = st.builds(
    RunRecord,
    id=texts,
    name=texts,
    status=st.sampled_from(codec.STATUSES),
    project=texts,
    target=texts,
    entry_point=texts,
    started_at=texts,
    mlrun_version=texts,
    tags=pairs,
    user=maybe_texts,
    ended_at=maybe_texts,
    duration_s=st.none() | numbers,
    exit_code=st.none() | integers,
    signal=maybe_texts,
    error=st.none() | st.builds(Failure, code=texts, message=texts, hint=maybe_texts),
    source=st.none()
    | st.builds(
        SourceFacts,
        kind=texts,
        tree=texts,
        directory=texts,
        url=maybe_texts,
        commit=maybe_texts,
        dirty=st.booleans(),
        untracked=some(st.builds(StoredFile, path=texts, mode=texts, digest=digests, size=integers)),
    ),
    command=st.none() | st.builds(CommandFacts, text=texts, argv=some(texts), cwd=texts),
    parameters=by_name(parameters),
    env_vars=st.dictionaries(texts, maybe_texts, max_size=3).map(lambda found: tuple(found.items())),
    inputs=some(artifacts),
    metrics=by_name(metrics),
    resources=st.none() | st.builds(Usage, wall_s=numbers, cpu_s=numbers, max_rss_bytes=integers),
    ci=st.none() | st.builds(CiFacts, provider=texts, run_url=maybe_texts, facts=pairs),
    parents=pairs,
    warnings=some(texts),
    observed=maybe_texts,
    cache_key=st.none() | digests,
    log=st.none() | digests,
    series=st.none() | digests,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a machine with much to do
@given(records)
def test_any_record_survives_a_round_trip(record: RunRecord) -> None:
    assert decoded(codec.encode(record)) == record


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(json.loads(GOLDEN.read_bytes()))), json_values)
def test_a_record_with_any_field_replaced_is_read_or_refused(field: str, value: object) -> None:
    with contextlib.suppress(StoreError):
        decoded(changed(**{field: value}))
