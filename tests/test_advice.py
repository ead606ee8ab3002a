from __future__ import annotations

import pytest

from mlrun.advice import advise


def told(
    tail: str,
    *,
    as_of: str | None = None,
    committed_at: str | None = "2020-08-12T09:00:00Z",
    there: frozenset[str] = frozenset(),
) -> tuple[str, str] | None:
    finding = advise(
        tail,
        packages={"numpy", "scikit-learn"},
        as_of=as_of,
        committed_at=committed_at,
        target=".",
        there=there.__contains__,
    )
    return None if finding is None else (finding.code, f"{finding.message} / {finding.hint}")


@pytest.mark.parametrize(
    ("tail", "code", "part"),
    [
        (
            "ImportError: cannot import name 'joblib' from 'sklearn.externals' (/x/y.py)",
            "packages-too-new",
            "`joblib`",
        ),
        ("AttributeError: module 'numpy' has no attribute 'int'.\nby then\n", "packages-too-new", "`numpy`"),
        (
            "AttributeError: 'DataFrame' object has no attribute 'append'",
            "packages-too-new",
            "--as-of 2020-08-12",
        ),
        (
            "TypeError: OneHotEncoder.__init__() got an unexpected keyword argument 'sparse'",
            "packages-too-new",
            "`sparse`",
        ),
        (
            "TypeError: mean_squared_error() takes 2 positional arguments but 3 were given",
            "packages-too-new",
            "otherwise",
        ),
        (
            "ValueError: numpy.dtype size changed, may indicate binary incompatibility.",
            "packages-too-new",
            "another numpy",
        ),
        (
            "ModuleNotFoundError: No module named 'sklearn.externals'",
            "packages-too-new",
            "`sklearn.externals`",
        ),
        ("ModuleNotFoundError: No module named 'seaborn'\n", "missing-package", "`seaborn`"),
        (
            "google.protobuf.x.TypeError: Descriptors cannot be created directly.",
            "packages-too-new",
            "protobuf",
        ),
    ],
)
def test_last_words_that_tell_of_the_environment(tail: str, code: str, part: str) -> None:
    found = told(f"Traceback (most recent call last):\n  File …\n{tail}")
    assert found is not None
    assert found[0] == code
    assert part in found[1]


@pytest.mark.parametrize(
    "tail",
    [
        "",
        "all well",
        "AttributeError: 'NoneType' object has no attribute 'fit'",
        "ValueError: could not convert string to float: 'x'",
        "KeyError: 'numpy'",
    ],
)
def test_others_say_nothing(tail: str) -> None:
    assert told(tail) is None


def test_who_travels_already_is_not_sent_again() -> None:
    assert told("AttributeError: module 'numpy' has no attribute 'int'", as_of="2020-01-01T00:00:00Z") is None


def test_without_a_commit_the_day_is_left_to_the_reader() -> None:
    found = told("AttributeError: module 'numpy' has no attribute 'int'", committed_at=None)
    assert found is not None
    assert "--as-of DATE" in found[1]


MAX_RETRIES = "HTTPSConnectionPool(host='data.example', port=443): Max retries exceeded with url: /wine.csv"


@pytest.mark.parametrize(
    ("tail", "code", "part"),
    [
        (
            f"requests.exceptions.ConnectionError: {MAX_RETRIES} (Caused by …)",
            "unreachable-host",
            "data.example",
        ),
        (
            "urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>",
            "unreachable-host",
            "a host",
        ),
        (
            "wandb.errors.UsageError: api_key not configured (no-tty). call …",
            "needs-login",
            "WANDB_MODE=offline",
        ),
        (
            "botocore.exceptions.NoCredentialsError: Unable to locate credentials",
            "needs-login",
            "credentials",
        ),
        (
            (
                'docker.errors.APIError: 500 Server Error ("Get "https://hub.example/v2/": dial tcp:'
                ' lookup hub.example on 10.0.0.1:53: no such host")'
            ),
            "unreachable-host",
            "`hub.example`",
        ),
        ("/env/bin/python: No module named pytest", "missing-package", "`pytest`"),
        (
            (
                "/env/bin/python3.12: Error while finding module specification for 'steps.load'"
                " (ModuleNotFoundError: No module named 'steps')"
            ),
            "missing-package",
            "`steps`",
        ),
        ("EOFError: EOF when reading a line", "wants-input", "| mlrun run"),
        ("bash: line 1: Rscript: command not found", "missing-program", "`Rscript`"),
        ("/bin/sh: 1: dot: not found", "missing-program", "`dot`"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'java'", "missing-program", "`java`"),
        (
            "RuntimeError: Java gateway process exited before sending its port number",
            "missing-program",
            "Java",
        ),
        (
            "ImportError: libGL.so.1: cannot open shared object file: No such file",
            "missing-library",
            "`libGL.so.1`",
        ),
        (
            "OSError: libgomp.so.1: cannot open shared object file: No such …",
            "missing-library",
            "`libgomp.so.1`",
        ),
        (
            "python: can't open file 'main.py': [Errno 2] No such file or directory",
            "missing-file",
            "`main.py`",
        ),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: 'data/a.csv'",
            "missing-file",
            "where it comes from",
        ),
        ("FileNotFoundError: [Errno 2] File b'a.csv' does not exist: b'a.csv'", "missing-file", "`a.csv`"),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/home/me/a.csv'",
            "missing-file",
            "another machine",
        ),
    ],
)
def test_last_words_that_tell_of_what_is_not_there(tail: str, code: str, part: str) -> None:
    found = told(f"begun\n{tail}\n")
    assert found is not None
    assert found[0] == code
    assert part in found[1]


def test_a_file_that_dvc_keeps_is_to_be_pulled_and_one_that_is_there_is_not_missed() -> None:
    said = "FileNotFoundError: [Errno 2] No such file or directory: 'data/a.csv'\n"
    found = told(said, there=frozenset({"data/a.csv.dvc"}))
    assert found is not None
    assert "dvc pull" in found[1]
    assert told(said, there=frozenset({"data/a.csv"})) is None


def test_a_variable_that_is_not_set_is_named() -> None:
    frames = (
        '  File "/usr/lib/python3.11/os.py", line 679, in __getitem__\n    raise KeyError(key) from None\n'
    )
    assert told(f"Traceback:\n{frames}KeyError: 'TOKEN'\n") == (
        "unset-variable",
        "the program reads the variable `TOKEN`, which is not set / `TOKEN=… mlrun run …`",
    )


def test_of_a_step_that_failed_its_own_words_count() -> None:
    step = "ModuleNotFoundError: No module named 'seaborn'\n"
    frames = "  File x\n" * 60
    for last in (
        "mlflow.exceptions.ExecutionException: Run (ID '08140f3e6828a6170fe205e0ba29c61f') failed\n",
        "subprocess.CalledProcessError: Command '['python', 'x.py']' returned non-zero exit status 1.\n",
    ):
        found = told(f"{frames}{step}Traceback (most recent call last):\n  File y\n{last}")
        assert found is not None
        assert found[0] == "missing-package"
    assert told("mlflow.exceptions.ExecutionException: Run (ID '08140f3e') failed\n") is None


def test_a_java_that_is_too_new_for_spark_is_told_apart() -> None:
    said = "py4j.protocol.Py4JJavaError: An error occurred while calling None.…\n"
    cause = ": java.lang.IllegalAccessError: … cannot access class sun.nio.ch.DirectBuffer (in module …\n"
    found = told(said + cause + "\tat java.base/java.lang.Thread.run(Thread.java:840)\n")
    assert found is not None
    assert found[0] == "other-java"
    assert told(said) is None


def test_what_a_program_lacked_before_it_fell_over_its_absence_is_told() -> None:
    lacked = "FileNotFoundError: [Errno 2] No such file or directory: 'data/a.csv'\n"
    last = "UnboundLocalError: local variable 'data' referenced before assignment\n"
    found = told(f"Traceback:\n{lacked}Traceback:\n{last}")
    assert found is not None
    assert found[0] == "missing-file"
    assert told(f"it said No such file or directory: 'data/a.csv'\n{last}") is None


def test_a_module_of_the_project_s_own_is_no_package_that_is_missing() -> None:
    found = advise(
        "  File \"src/app/bin/run.py\", line 1\nModuleNotFoundError: No module named 'features'\n",
        packages=(),
        as_of=None,
        committed_at=None,
        target=".",
        find={"features": ("old/lib", "src/app/lib", "tools")}.__getitem__,
    )
    assert found is not None
    assert (found.code, found.message) == (
        "module-not-on-path",
        "`features` is the project's own, in `src/app/lib`, where Python does not look for it",
    )
