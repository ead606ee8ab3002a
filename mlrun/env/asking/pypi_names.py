"""Names that people write for what PyPI calls otherwise, or does not have at all."""

from __future__ import annotations

import re
import sys


def words(text: str) -> frozenset[str]:
    """A set written as text."""
    return frozenset(text.split())


_NAMED_LIKE_STANDARD = frozenset(
    {"configparser", "contextvars", "dataclasses", "importlib.metadata", "importlib.resources", "typing"}
)
"""Backports, which do no harm or are for old Pythons."""

RENAMED = {
    "beautifulsoup": ("beautifulsoup4", "version 3 is for Python 2"),
    "bs4": ("beautifulsoup4", "`bs4` is the module's name"),
    "crypto": ("pycryptodome", "`Crypto` is the module's name"),
    "cv2": ("opencv-python-headless", "`cv2` is the module's name"),
    "dateutil": ("python-dateutil", "`dateutil` is the module's name"),
    "distribute": ("setuptools", "it was merged back"),
    "dotenv": ("python-dotenv", "`dotenv` is the module's name"),
    "imblearn": ("imbalanced-learn", "`imblearn` is the module's name"),
    "mpl-toolkits": ("matplotlib", "it is a part of it"),
    "mysql-python": ("mysqlclient", "it is for Python 2"),
    "opencv": ("opencv-python-headless", "PyPI has it under that name"),
    "pil": ("pillow", "PIL has not been released since 2009"),
    "psycopg2": ("psycopg2-binary", "the same code, built"),
    "pycrypto": ("pycryptodome", "it is not maintained and does not build"),
    "pytorch": ("torch", "the package `pytorch` on PyPI only says so"),
    "skimage": ("scikit-image", "`skimage` is the module's name"),
    "sklearn": ("scikit-learn", "the package `sklearn` on PyPI is deprecated"),
    "tensorflow-gpu": ("tensorflow", "the separate package was given up"),
    "tensorflow-intel": ("tensorflow", "it is what tensorflow is made of on Windows"),
    "tensorflow-macos": ("tensorflow", "it is for macOS"),
    "yaml": ("PyYAML", "`yaml` is the module's name"),
}
"""Names that PyPI lacks, or holds empty, broken or given up: what is meant, and why.

Source: each package's page on https://pypi.org/project/<name>/, as of November 2026. `pandas-profiling` and
`fbprophet` are not here: what replaced them has another module name.
"""

SAME_VERSIONS = frozenset({"psycopg2", "tensorflow-gpu", "tensorflow-intel", "tensorflow-macos"})
"""Those of RENAMED whose version numbers are also those of the package that is meant."""

ONLY_ON = {
    "appnope": "darwin", "applaunchservices": "darwin", "appscript": "darwin", "macholib": "darwin",
    "tensorflow-metal": "darwin", "xattr": "darwin",
    "comtypes": "win32", "menuinst": "win32", "pypiwin32": "win32", "pyreadline": "win32",
    "pywin32": "win32", "pywin32-ctypes": "win32", "pywinpty": "win32", "tensorflow-directml": "win32",
    "torch-directml": "win32", "win-inet-pton": "win32", "win-unicode-console": "win32",
    "win32-setctime": "win32", "wincertstore": "win32", "windows-curses": "win32", "winrt": "win32",
    "wmi": "win32",
}  # fmt: skip
"""Packages for one platform, as their own pages on PyPI say (and every `pyobjc-…`, for macOS)."""

# fmt: off
NOT_ON_PYPI = {
    **dict.fromkeys(
        ("anaconda-anon-usage", "anaconda-catalogs", "anaconda-depends", "anaconda-navigator", "conda",
         "conda-build", "conda-content-trust", "conda-env", "conda-index", "conda-libmamba-solver",
         "conda-repo-cli", "conda-token", "conda-verify", "console-shortcut", "libmambapy", "mkl-fft",
         "mkl-random", "mkl-service", "navigator-updater", "ruamel-yaml-conda"),
        "a part of Anaconda",
    ),
    **dict.fromkeys(
        ("apturl", "brlapi", "cloud-init", "command-not-found", "cupshelpers", "distro-info",
         "language-selector", "python-apt", "screen-resolution-extra", "ssh-import-id", "systemd-python",
         "ubuntu-advantage-tools", "ubuntu-drivers-common", "ubuntu-pro-client", "ufw",
         "unattended-upgrades", "usb-creator", "xkit"),
        "a part of Ubuntu",
    ),
    "pkg-resources": "a flaw of Debian's `pip freeze`",
}
"""What freezes of a machine list and no project needs or can get."""

OF_OTHERS = words(
    """
    absl-py aiohappyeyeballs aiosignal annotated-types asttokens astunparse async-timeout backcall
    bleach blinker brotlipy cachetools certifi cffi chardet charset-normalizer click-plugins comm
    contourpy cycler cymem debugpy defusedxml entrypoints exceptiongroup executing fastjsonschema
    flatbuffers fonttools frozenlist gast gitdb google-auth-oauthlib google-pasta graphql-core
    graphql-relay greenlet grpcio h11 httpcore idna importlib-resources iniconfig itsdangerous jedi
    jsonschema-specifications jupyter-client jupyter-core jupyterlab-pygments keras-applications
    keras-preprocessing kiwisolver libclang llvmlite mako markdown-it-py markupsafe matplotlib-inline
    mccabe mdurl mistune multidict murmurhash nest-asyncio oauthlib opt-einsum pandocfilters parso
    pexpect pickleshare pluggy preshed prometheus-flask-exporter prompt-toolkit ptyprocess pure-eval
    pyasn1 pyasn1-modules pycparser pyparsing pyrsistent python-editor querystring-parser referencing
    requests-oauthlib rpds-py rsa s3transfer smmap sniffio soupsieve sqlparse stack-data
    tensorboard-data-server tensorboard-plugin-wit tensorflow-estimator tensorflow-io-gcs-filesystem
    threadpoolctl tinycss2 traitlets typing-inspection tzlocal wcwidth webencodings websocket-client
    werkzeug widgetsnbextension wrapt yarl zipp
    """
)
"""Packages that come as dependencies of others and that hardly anyone names by hand."""
# fmt: on


BACKPORTS = {"dataclasses": "3.7", "contextvars": "3.7", "typing": "3.5", "enum34": "3.4", "futures": "3.2"}
"""Packages for Pythons before their module came into the standard library, by their pages on PyPI."""


def canonical(name: str) -> str:
    """PEP 503's one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_special(name: str) -> bool:
    """Whether a requirement's name is in one of the tables here."""
    known = canonical(name)
    return (
        known in RENAMED
        or known in NOT_ON_PYPI
        or known in ONLY_ON
        or known in BACKPORTS
        or known.startswith("pyobjc")
        or in_standard_library(name)
    )


def in_standard_library(requirement: str) -> bool:
    """Whether a name is that of a module that every Python 3 has or had; `os.path` counts as `os`."""
    top = requirement.partition(".")[0]
    return (top in sys.stdlib_module_names or top in ("asyncio", "distutils", "imp")) and not (
        top.startswith("_") or requirement in _NAMED_LIKE_STANDARD
    )


def name_of(requirement: str) -> str | None:
    """The distribution that a requirement names; None for a bare URL or path."""
    match = re.match(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?(?!\S*://|[\w.]*([/\\+]|:[/\\]))", requirement)
    return match[0] if match else None
