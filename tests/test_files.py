"""Where the folders of ours are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlrun.files import locate


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has folders of its own")
def test_the_users_folders_follow_xdg_and_our_own_variables_go_before() -> None:
    home, cache = locate({"HOME": "/home/ada", "XDG_CACHE_HOME": "/fast", "XDG_DATA_HOME": "not/absolute"})
    assert (home.root, cache.root) == (Path("/home/ada/.local/share/mlrun"), Path("/fast/mlrun"))
    home, cache = locate({"MLRUN_HOME": "/a/../home", "MLRUN_CACHE": "cache"})
    assert (home.root, cache.root) == (Path("/home"), Path.cwd() / "cache")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a number without a name")
def test_a_user_without_a_home_is_told_what_to_set() -> None:
    program = (
        "import os; from mlrun.errors import StoreError; from mlrun.files import locate; os.setuid(12345)\n"
        "try: locate({})\n"
        "except StoreError as error: print(error.code, error.hint)\n"
        "print(locate({'MLRUN_HOME': '/h', 'MLRUN_CACHE': '/c'})[0].root)"
    )
    variables = {name: value for name, value in os.environ.items() if name != "HOME"}  # noqa: TID251
    done = subprocess.run(
        [sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True
    )
    assert done.stdout == "no-home set HOME, or both MLRUN_HOME and MLRUN_CACHE\n/h\n"
