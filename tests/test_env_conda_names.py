"""The table of conda's names."""

from __future__ import annotations

import pytest

from mlrun.env.asking.conda_names import ONLY_CONDA, PROGRAMS, RENAMED, SAME, canonical, lookup


@pytest.mark.parametrize(
    ("conda", "pypi"),
    [
        ("pytorch", "torch"),
        ("pytorch-cpu", "torch"),
        ("tensorflow-gpu", "tensorflow"),
        ("tensorflow-mkl", "tensorflow"),
        ("py-xgboost-cpu", "xgboost"),
        ("py-opencv", "opencv-python-headless"),
        ("matplotlib-base", "matplotlib"),
        ("seaborn-base", "seaborn"),
        ("dask-core", "dask"),
        ("msgpack-python", "msgpack"),
        ("pytables", "tables"),
        ("python-graphviz", "graphviz"),
        ("pyqt", "PyQt5"),
        ("psycopg2", "psycopg2-binary"),
        ("py-lief", "lief"),
        ("pytorch_geometric", "torch-geometric"),
        ("h2o-py", "h2o"),
        ("dgl-cuda11.3", "dgl"),
    ],
)
def test_packages_with_another_name(conda: str, pypi: str) -> None:
    assert (lookup(conda).fate, lookup(conda).names) == ("renamed", (pypi,))


@pytest.mark.parametrize(
    "name",
    [
        *("numpy", "scikit-learn", "typing_extensions", "sacremoses", "pandas-gbq", "certifi"),
        *(
            "lime",
            "shap",
            "fastai",
            "spacy",
            "pandas-datareader",
            "scikit-learn-intelex",
            "h5py",
            "jupyterlab",
        ),
        *("librosa", "libcst", "libclang", "qtpy", "qtconsole", "cuda-python", "pip", "setuptools", "django"),
    ],
)
def test_packages_with_the_same_name(name: str) -> None:
    assert (lookup(name).fate, lookup(name).names) == ("same", (name,))


@pytest.mark.parametrize(
    ("fate", "names"),
    [
        (
            "bundled",
            "cudatoolkit cudnn mkl mkl-service blas libblas openblas intel-openmp libgcc-ng openssl",
        ),
        (
            "bundled",
            "zlib xz sqlite tk readline ncurses ca-certificates python_abi _libgcc_mutex libpng libstdcxx-ng",
        ),
        (
            "bundled",
            "freetype jpeg libtiff qt qt-main icu dbus expat fontconfig glib gst-plugins-base pcre hdf5",
        ),
        (
            "bundled",
            "binutils_impl_linux-64 sysroot_linux-64 ld_impl_linux-64 gcc_impl_linux-64",
        ),
        (
            "bundled",
            "arrow-cpp boost-cpp grpc-cpp lz4-c zstd yaml pytorch-mutex cuda-cudart xorg-libx11 cpuonly",
        ),
        (
            "platform",
            "pywin32 winpty console_shortcut m2w64-gcc-libs msys2-conda-epoch appnope vs2015_runtime vc",
        ),
        ("conda", "conda conda-build anaconda-client nb_conda nb_conda_kernels mamba navigator-updater"),
        (
            "program",
            "openjdk r-base r-ggplot2 nodejs graphviz ffmpeg git make gcc gcc_linux-64 gxx_linux-64 pandoc",
        ),
        ("data", "nltk_data spacy-model-en_core_web_sm"),
        ("only-conda", "cudf cuml rmm graph-tool"),
        ("assumed", "a-package-of-tomorrow"),
    ],
)
def test_packages_that_no_wheel_stands_for(fate: str, names: str) -> None:
    assert {name: lookup(name).fate for name in names.split()} == dict.fromkeys(names.split(), fate)


@pytest.mark.parametrize(
    ("name", "pypi"), [("ruamel_yaml", "ruamel.yaml"), ("importlib_metadata", "importlib-metadata")]
)
def test_another_spelling_is_no_other_name(name: str, pypi: str) -> None:
    assert (lookup(name).fate, lookup(name).names) == ("same", (pypi,))


def test_the_table_is_written_in_one_spelling_and_says_nothing_twice() -> None:
    names = [*RENAMED, *PROGRAMS, *ONLY_CONDA]
    assert [name for name in names if name != canonical(name)] == []
    assert SAME & ({*PROGRAMS, *ONLY_CONDA}) <= {"kubernetes", "ninja"}
    assert len(SAME | RENAMED.keys()) > 1000
