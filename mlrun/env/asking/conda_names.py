"""What conda's packages are called on PyPI, and which of them PyPI does not have.

A table of our own, for what machine-learning projects ask. Facts from: conda-forge's mapping
(`mappings/pypi/grayskull_pypi_mapping` of regro/cf-graph-countyfair, as kept by conda-incubator/conda-pypi,
which also lists where the `defaults` channel differs, August 2025), the package lists of the channels
`defaults` and `pytorch`, and the environment files of published projects; read in November 2026. Names are
compared in the spelling of PEP 503, so that `typing_extensions` needs no entry.
"""

from __future__ import annotations

import re
from typing import Literal

from mlrun.value import value

Fate = Literal["same", "renamed", "assumed", "bundled", "platform", "conda", "program", "data", "only-conda"]
"""What becomes of a conda package where there is no conda."""


@value
class Named:
    """A conda package outside conda.

    `names` are the requirements that stand for it (with extras or a marker, without version); `program` is
    what it would put on PATH.
    """

    fate: Fate
    names: tuple[str, ...] = ()
    program: str | None = None


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SAME = _words(
    """
    absl-py accelerate adlfs aiobotocore aiofiles aiohttp alabaster albumentations alembic altair
    aniso8601 annotated-types antlr4-python3-runtime anyio apache-airflow appdirs argcomplete argon2-cffi
    argon2-cffi-bindings arrow asgiref asn1crypto astor astroid astropy asttokens async-generator
    async-timeout atomicwrites attrs audioread autograd automat autopep8 av awscli azure-core
    azure-identity azure-storage-blob babel backcall backports-functools-lru-cache backports-os
    backports-shutil-get-terminal-size backports-tempfile backports-weakref backports-zoneinfo bcolz
    bcrypt beautifulsoup4 binaryornot biopython bitarray bitsandbytes bkcharts black bleach blinker blosc2
    bokeh boltons boto boto3 botocore bottleneck bs4 build cachecontrol cached-property cachetools captum
    cartopy catalogue catboost category-encoders certifi cffi cftime chainer chardet charset-normalizer
    cheroot click click-plugins cligj cloudpathlib cloudpickle cmaes cmake cmdstanpy colorama colorcet
    colorlog colorlover comet-ml comm configargparse configparser confuse constantly contextlib2 contourpy
    convertdate cookiecutter coremltools coverage cryptography cssselect cssutils cupy cvxopt cvxpy cycler
    cymem cython cytoolz daal4py dacite dagster dash dash-core-components dash-html-components dash-table
    databricks-cli databricks-sdk dataclasses-json datasets datashader datashape dateparser debugpy
    decorator deepdiff deepspeed defusedxml delta-spark deprecated descartes dgl diff-match-patch
    diffusers dill diskcache distlib distributed django djangorestframework dlib docker docker-pycreds
    docopt docstring-parser docstring-to-markdown docutils dvc dvc-gdrive dvc-s3 dvclive earthengine-api
    ecos editables einops elasticsearch eli5 email-validator entrypoints ephem et-xmlfile evaluate
    exceptiongroup executing facenet-pytorch fairscale faiss-cpu faiss-gpu faker fastai fastapi fastavro
    fastcache fastcore fastdownload fastjsonschema fastparquet fastprogress fastrlock fasttext fbprophet
    feast featuretools filelock findspark fiona fire flake8 flask flask-compress flask-cors flask-login
    flask-restful flask-sqlalchemy flatbuffers flax flit-core folium fonttools fs fsspec funcsigs funcy
    future fuzzywuzzy fvcore gast gcsfs gdown gensim geographiclib geopandas geopy gevent gitdb gitdb2
    gitpython glmnet glob2 gluoncv gluonts gmpy2 google-api-core google-api-python-client google-auth
    google-auth-oauthlib google-cloud-bigquery google-cloud-core google-cloud-storage google-pasta
    googleapis-common-protos gorilla gplearn gpustat gpyopt gpytorch gradio graphene graphql-core
    great-expectations greenlet grpcio grpcio-tools gunicorn gurobipy gym gymnasium h11 h5netcdf h5py
    h5pyd hatchling haversine hdbscan hdfs heapdict hmmlearn holidays holoviews html5lib httpcore httplib2
    httptools httpx huggingface-hub humanfriendly humanize hvplot hydra-core hyperlink hyperopt hypothesis
    idna ijson imagecodecs imagehash imageio imageio-ffmpeg imagesize imbalanced-learn imgaug
    importlib-metadata importlib-resources imutils incremental inflect inflection iniconfig intake
    interpret intervaltree invoke iopath ipdb ipykernel ipympl ipyparallel ipython ipython-genutils
    ipywidgets isodate isort itemadapter itemloaders itsdangerous jax jaxlib jaxtyping jdcal jedi
    jellyfish jinja2 jinja2-time jiwer jmespath joblib json5 jsonlines jsonpatch jsonpickle jsonpointer
    jsonschema jsonschema-specifications jupyter jupyter-client jupyter-console
    jupyter-contrib-nbextensions jupyter-core jupyter-events jupyter-lsp jupyter-server
    jupyter-server-terminals jupyter-telemetry jupyterlab jupyterlab-launcher jupyterlab-pygments
    jupyterlab-server jupyterlab-widgets jupytext kaggle kedro keras keras-applications keras-cv
    keras-preprocessing keras-rl2 keras-tuner keyring kfp kiwisolver kneed koalas kornia kubernetes
    labelme labelme2coco langchain lazy-loader lazy-object-proxy ldap3 libclang libcst librosa libsass
    lifelines lifetimes lightfm lightgbm lightning lightning-utilities lime llvmlite lmfit locket loguru
    lpips lxml lz4 mako mapclassify markdown markdown-it-py markupsafe marshmallow matplotlib
    matplotlib-inline matplotlib-venn mccabe mdit-py-plugins mdurl mimesis missingno mistune mizani
    ml-dtypes mlflow mlflow-skinny mlserver mlxtend mmcv mne mock modin monai more-itertools moto moviepy
    mpi4py mpmath msal msgpack msrest multidict multipledispatch multiprocess munch munkres murmurhash
    mxnet mypy mypy-extensions mysql-connector-python mysqlclient namex natsort nbclassic nbclient
    nbconvert nbdev nbformat nbval neptune-client nest-asyncio netcdf4 networkx nevergrad nibabel nilearn
    ninja nltk nose notebook notebook-shim numba numcodecs numexpr numpy numpydoc nvidia-ml-py oauthlib
    octave-kernel odfpy olefile omegaconf onnx onnxmltools onnxruntime openai opencensus
    opencv-contrib-python opencv-python opencv-python-headless openml openpyxl openslide-python
    opentelemetry-api opentelemetry-sdk opt-einsum optax optree optuna orbit-ml orjson ortools osmnx
    overrides packaging pandas pandas-datareader pandas-flavor pandas-gbq pandas-profiling pandas-stubs
    pandera pandocfilters panel papermill param parameterized paramiko parsel parso partd passlib path
    path-py pathlib2 pathos pathspec pathy patool patsy pdfminer-six pdfplumber pdm peewee peft pendulum
    pep8 pexpect pickleshare pika pillow pip-tools pipdeptree pipenv pkginfo plac platformdirs plotly
    plotly-express plotnine pluggy ply pmdarima poetry poetry-core polars pooch portalocker pox poyo ppft
    pqdm pre-commit prefect preshed prettytable progressbar2 prometheus-client prometheus-flask-exporter
    prompt-toolkit prophet protego protobuf psutil psycopg2-binary ptyprocess pulp pure-eval py py-cpuinfo
    py4j pyaml pyarrow pyasn1 pyasn1-modules pyathena pybboxes pybind11 pycairo pycaret pycocotools
    pycodestyle pycosat pycparser pycryptodome pycryptodomex pyct pycurl pydantic pydantic-core
    pydantic-settings pydata-google-auth pydeck pydicom pydispatcher pydocstyle pydot pydotplus pyerfa
    pyfiglet pyflakes pygam pygithub pygments pygraphviz pyhamcrest pyhdf pyicu pyjwt pylint pyls-spyder
    pymc pymc3 pymongo pymssql pymysql pynacl pynndescent pynvml pyod pyodbc pyomo pyopengl pyopenssl
    pypandoc pyparsing pypdf pypdf2 pyperclip pyproj pyproject-hooks pyqt5-qt5 pyqt5-sip pyqt6 pyqtgraph
    pyrsistent pysftp pyshp pyside2 pyside6 pysocks pyspark pystac pystan pytesseract pytest pytest-cov
    pytest-mock pytest-runner pytest-xdist python-dateutil python-docx python-dotenv python-editor
    python-json-logger python-jsonrpc-server python-language-server python-levenshtein python-louvain
    python-lsp-black python-lsp-jsonrpc python-lsp-server python-multipart python-pptx python-slugify
    python-snappy python-telegram-bot pytoml pytoolconfig pytorch-crf pytorch-forecasting
    pytorch-lightning pytorch-metric-learning pytorch-tabnet pytorch-transformers pytz pyutilib pyvista
    pyviz-comms pywavelets pyyaml pyzmq qdarkstyle qtawesome qtconsole qtpy querystring-parser queuelib
    ranger rapidfuzz rasterio ray rdflib rdkit redis referencing regex requests requests-file
    requests-oauthlib requests-toolbelt resampy responses retrying rich rioxarray rope rouge-score rpds-py
    rpy2 rsa rtree ruamel-yaml ruamel-yaml-clib s3fs s3transfer sacrebleu sacremoses safetensors sagemaker
    sahi salib scikit-build scikit-image scikit-learn scikit-learn-extra scikit-learn-intelex scikit-misc
    scikit-multilearn scikit-optimize scikit-plot scikit-surprise scikit-survival scipy scrapy seaborn
    secretstorage selenium semver send2trash sentence-transformers sentencepiece sentry-sdk seqeval
    serpent service-identity setproctitle setuptools-scm shap shapely shellingham simplegeneric simpleitk
    simplejson singledispatch six sklearn-pandas skorch smart-open smmap smmap2 sniffio snowballstemmer
    snowflake-connector-python snowflake-sqlalchemy sortedcollections sortedcontainers soundfile soupsieve
    spacy spacy-legacy spacy-loggers spacy-transformers spectra spglib sphinx sphinx-rtd-theme
    sphinxcontrib-applehelp sphinxcontrib-devhelp sphinxcontrib-htmlhelp sphinxcontrib-jsmath
    sphinxcontrib-qthelp sphinxcontrib-serializinghtml sphinxcontrib-websupport spyder spyder-kernels
    sqlalchemy sqlalchemy-utils sqlmodel sqlparse srsly stable-baselines3 stack-data stanza starlette
    statsforecast statsmodels stopit streamlit sweetviz swifter sympy tables tabula-py tabulate tblib
    tenacity tensorboard tensorboard-data-server tensorboard-plugin-wit tensorboardx tensorflow
    tensorflow-addons tensorflow-datasets tensorflow-hub tensorflow-io tensorflow-metadata
    tensorflow-probability tensorflow-text termcolor terminado terminaltables testpath text-unidecode
    textblob textdistance textract texttable tf-slim theano theano-pymc thinc thop threadpoolctl
    three-merge thrift tifffile tiktoken timm tinycss2 tldextract tokenizers toml tomli tomli-w tomlkit
    toolz torch torch-cluster torch-geometric torch-scatter torch-sparse torch-spline-conv torchaudio
    torchdata torchinfo torchmetrics torchsummary torchtext torchvision torchviz tornado tox tpot tqdm
    traitlets traittypes transformers treeinterpreter trimesh triton trl tsfresh tslearn tweepy twisted
    typed-ast typeguard typer typing-extensions typing-inspection tzdata tzlocal ujson ultralytics
    umap-learn unidecode update-checker uritemplate urllib3 uvicorn vadersentiment vega vega-datasets
    virtualenv visdom vtk w3lib waitress wandb wasabi watchdog watchfiles wcwidth webcolors
    webdriver-manager webencodings websocket-client websockets werkzeug whatthepatch widgetsnbextension
    wordcloud wrapt wtforms wurlitzer xarray xformers xgboost xlrd xlsxwriter xlwt xmljson xmltodict
    xxhash yacs yapf yarl ydata-profiling yellowbrick yfinance zarr zict zipp zope-event zope-interface
    zstandard
    """
)
"""Packages that PyPI has under the same name, with the same content."""

RENAMED: dict[str, tuple[str, ...]] = {
    # deep learning
    "pytorch": ("torch",),
    "pytorch-cpu": ("torch",),
    "pytorch-gpu": ("torch",),
    "torchvision-cpu": ("torchvision",),
    "ignite": ("pytorch-ignite",),
    "pyg": ("torch-geometric",),
    "pytorch-geometric": ("torch-geometric",),
    "pytorch-scatter": ("torch-scatter",),
    "pytorch-sparse": ("torch-sparse",),
    "pytorch-cluster": ("torch-cluster",),
    "pytorch-spline-conv": ("torch-spline-conv",),
    "pytorch-nlp": ("pytorch-nlp",),
    "tensorflow-gpu": ("tensorflow",),
    "tensorflow-base": ("tensorflow",),
    "tensorflow-mkl": ("tensorflow",),
    "tensorflow-eigen": ("tensorflow",),
    "tensorflow-cpu": ("tensorflow",),
    "tensorflow-gpu-base": ("tensorflow",),
    "tensorflow-estimator": ("tensorflow-estimator",),
    "keras-gpu": ("keras",),
    "keras-base": ("keras",),
    "keras-cpu": ("keras",),
    "mxnet-gpu": ("mxnet",),
    "py-mxnet": ("mxnet",),
    "theano-gpu": ("theano",),
    "segment-anything": ("segment-anything-py",),
    "onnxruntime-cpu": ("onnxruntime",),
    "diffusers-base": ("diffusers",),
    "diffusers-torch": ("diffusers[torch]",),
    # boosting, indexes, hyperparameters
    "py-xgboost": ("xgboost",),
    "py-xgboost-cpu": ("xgboost",),
    "py-xgboost-gpu": ("xgboost",),
    "xgboost-cpu": ("xgboost",),
    "xgboost-gpu": ("xgboost",),
    "lightgbm-cpu": ("lightgbm",),
    "faiss": ("faiss-cpu",),
    "h2o-py": ("h2o",),
    "ray-core": ("ray",),
    "ray-all": ("ray[all]",),
    "ray-default": ("ray[default]",),
    "ray-tune": ("ray[tune]",),
    "ray-train": ("ray[train]",),
    "ray-rllib": ("ray[rllib]",),
    "ray-serve": ("ray[serve]",),
    "ray-data": ("ray[data]",),
    "ray-autoscaler": ("ray",),
    "boruta-py": ("boruta",),
    "arch-py": ("arch",),
    "prince-factor-analysis": ("prince",),
    "pyribs-base": ("ribs",),
    "tpot-full": ("tpot",),
    "sklearn": ("scikit-learn",),
    "libsvm-python": ("libsvm",),
    "python-annoy": ("annoy",),
    "hyperopt-sklearn": ("hpsklearn",),
    "interpret-core": ("interpret-core",),
    "quaternion": ("numpy-quaternion",),
    "python-prophet": ("prophet",),
    "ortools-python": ("ortools",),
    "gurobi": ("gurobipy",),
    "cyipopt": ("cyipopt",),
    # images, video, sound
    "opencv": ("opencv-python-headless",),
    "py-opencv": ("opencv-python-headless",),
    "libopencv": ("opencv-python-headless",),
    "opencv3": ("opencv-python-headless",),
    "pysoundfile": ("soundfile",),
    "python-soundfile": ("soundfile",),
    "python-sounddevice": ("sounddevice",),
    "pyav": ("av",),
    "python-kaleido": ("kaleido",),
    "simple-itk": ("simpleitk",),
    "python-mss": ("mss",),
    # plots and notebooks
    "matplotlib-base": ("matplotlib",),
    "seaborn-base": ("seaborn",),
    "python-graphviz": ("graphviz",),
    "qtconsole-base": ("qtconsole",),
    "spyder-base": ("spyder",),
    "astropy-base": ("astropy",),
    "python-cufflinks": ("cufflinks",),
    "cufflinks-py": ("cufflinks",),
    "pyqt": ("PyQt5",),
    "pyqt5": ("PyQt5",),
    "jupyterlab-code-formatter": ("jupyterlab-code-formatter",),
    "python-plotly": ("plotly",),
    "pyqtwebengine": ("PyQtWebEngine",),
    "pandas-profiling-base": ("pandas-profiling",),
    # tables, files, databases
    "numpy-base": ("numpy",),
    "numpy-devel": ("numpy",),
    "dask": ("dask[complete]",),
    "dask-core": ("dask",),
    "pyarrow-core": ("pyarrow",),
    "pyarrow-all": ("pyarrow",),
    "pytables": ("tables",),
    "msgpack-python": ("msgpack",),
    "ruamel-yaml": ("ruamel.yaml",),
    "ruamel-yaml-clib": ("ruamel.yaml.clib",),
    "python-blosc": ("blosc",),
    "python-blosc2": ("blosc2",),
    "psycopg2": ("psycopg2-binary",),
    "python-duckdb": ("duckdb",),
    "redis-py": ("redis",),
    "neo4j-python-driver": ("neo4j",),
    "trino-python-client": ("trino",),
    "mysql-python": ("mysqlclient",),
    "mysqlclient-python": ("mysqlclient",),
    "python-hdfs": ("hdfs",),
    "python-lmdb": ("lmdb",),
    "python-leveldb": ("leveldb",),
    "parquet-python": ("parquet",),
    "xarray-core": ("xarray",),
    "modin-core": ("modin",),
    "modin-all": ("modin[all]",),
    "modin-dask": ("modin[dask]",),
    "modin-ray": ("modin[ray]",),
    "pandera-core": ("pandera",),
    "pandera-base": ("pandera",),
    "python-avro": ("avro-python3",),
    "tiledb-py": ("tiledb",),
    "h3-py": ("h3",),
    "python-geotiff": ("geotiff",),
    "geopandas-base": ("geopandas",),
    "iris": ("scitools-iris",),
    "intake-parquet": ("intake-parquet",),
    # words
    "python-fasttext": ("fasttext",),
    "cython-blis": ("blis",),
    "googlesearch": ("google",),
    "lit-nlp": ("lit-nlp",),
    "spacy-lookups-data": ("spacy-lookups-data",),
    "huggingface-transformers": ("transformers",),
    # tools and services
    "ninja-base": ("ninja",),
    "docker-py": ("docker",),
    "python-kubernetes": ("kubernetes",),
    "python-wget": ("wget",),
    "pywget": ("wget",),
    "airflow": ("apache-airflow",),
    "superset": ("apache-superset",),
    "analytics-python": ("analytics-python",),
    "python-xxhash": ("xxhash",),
    "python-zstd": ("zstd",),
    "python-flatbuffers": ("flatbuffers",),
    "python-fastjsonschema": ("fastjsonschema",),
    "python-build": ("build",),
    "python-installer": ("installer",),
    "python-tzdata": ("tzdata",),
    "python-libarchive-c": ("libarchive-c",),
    "python-igraph": ("igraph",),
    "python-patch": ("patch",),
    "python-pdfkit": ("pdfkit",),
    "python-devtools": ("devtools",),
    "python-cityhash": ("cityhash",),
    "python-gssapi": ("gssapi",),
    "python-kerberos": ("kerberos",),
    "python-asana": ("asana",),
    "python-neo": ("neo",),
    "python-node-semver": ("node-semver",),
    "python-chromedriver-binary": ("chromedriver-binary",),
    "uvicorn-standard": ("uvicorn[standard]",),
    "fastapi-standard": ("fastapi[standard]",),
    "gql-with-all": ("gql[all]",),
    "gnupg-py": ("python-gnupg",),
    "brotlipy": ("brotlipy",),
    "brotli-python": ("brotli",),
    "pyam": ("pyam",),
    "nvidia-ml": ("nvidia-ml-py3",),
    "py-lief": ("lief",),
    "mt940": ("mt-940",),
    "vsts-python-api": ("vsts",),
    "ssl-match-hostname": ("backports.ssl-match-hostname",),
    "backports-lzma": ("backports.lzma",),
    "pymilvus": ("pymilvus",),
    "importlib-metadata": ("importlib-metadata",),
    "importlib-resources": ("importlib-resources",),
    "msg-extractor": ("extract-msg",),
    "tensorflow-serving-api": ("tensorflow-serving-api",),
    "notebook-server": ("notebook",),
    "pycocotools-python": ("pycocotools",),
    "pyjuliacall": ("juliacall",),
    "perspective": ("perspective-python",),
    "python-pdal": ("pdal",),
    # what newer Pythons have in their library: only for those that lack it
    "dataclasses": ('dataclasses ; python_version < "3.7"',),
    "contextvars": ('contextvars ; python_version < "3.7"',),
    "typing": ('typing ; python_version < "3.5"',),
    "enum34": ('enum34 ; python_version < "3.4"',),
    "futures": ('futures ; python_version < "3"',),
    "ipaddress": ('ipaddress ; python_version < "3"',),
    "functools32": ('functools32 ; python_version < "3"',),
    "pathlib": ('pathlib ; python_version < "3.4"',),
    # packages that stand for many
    "anaconda": (
        "numpy",
        "scipy",
        "pandas",
        "scikit-learn",
        "matplotlib",
        "seaborn",
        "statsmodels",
        "bokeh",
        "sympy",
        "scikit-image",
        "nltk",
        "h5py",
        "tables",
        "numba",
        "numexpr",
        "dask[complete]",
        "networkx",
        "requests",
        "beautifulsoup4",
        "lxml",
        "openpyxl",
        "xlrd",
        "sqlalchemy",
        "pillow",
        "jupyter",
    ),
    "intelpython3-core": ("numpy", "scipy"),
    "intelpython3-full": (
        "numpy",
        "scipy",
        "pandas",
        "scikit-learn",
        "matplotlib",
        "numba",
        "numexpr",
        "tables",
    ),
    "scipy-stack": ("numpy", "scipy", "matplotlib", "pandas", "sympy"),
}
"""Packages that PyPI has under another name, with extras or a marker where those say the same."""

ONE_MORE_NUMBER = frozenset(
    {"opencv-python-headless", "opencv-python", "opencv-contrib-python", "pyqtwebengine"}
)
"""What PyPI serves with one more number than conda: 3.4.2.17 for OpenCV 3.4.2."""

ONLY_CONDA = {
    "blazingsql",
    "cucim",
    "cudf",
    "cugraph",
    "cuml",
    "cusignal",
    "cuspatial",
    "cuxfilter",
    "dask-cudf",
    "nvstrings",
    "pylibcugraph",
    "raft-dask",
    "rapids",
    "rapids-blazing",
    "rapids-xgboost",
    "rmm",
    "ucx-proc",
    "ucx-py",
    "caffe",
    "caffe-gpu",
    "detectron2",
    "dlpack",
    "fenics",
    "fenics-dolfinx",
    "graph-tool",
    "pymol",
    "pymol-open-source",
    "openbabel",
    "pythonocc-core",
    "root",
    "psi4",
    "schrodinger",
    "mamba-models",
    "cntk",
    "pytorch-mutex-gpu",
    "magma",
    "ambertools",
    "openmpi-python",
    "pysal-all",
    "hoomd",
    "sage",
    "sagelib",
}
"""Packages of Python that only conda's channels have (RAPIDS, whose wheels on PyPI are stubs, among them)."""

PROGRAMS = {
    "awk": "awk",
    "bash": "bash",
    "bazel": "bazel",
    "binutils": "ld",
    "bison": "bison",
    "bwa": "bwa",
    "bowtie2": "bowtie2",
    "c-compiler": "cc",
    "chromedriver": "chromedriver",
    "clang": "clang",
    "clangxx": "clang++",
    "coin-or-cbc": "cbc",
    "coincbc": "cbc",
    "compilers": "cc",
    "cxx-compiler": "c++",
    "curl": "curl",
    "docker-compose": "docker-compose",
    "exiftool": "exiftool",
    "fastqc": "fastqc",
    "ffmpeg": "ffmpeg",
    "firefox": "firefox",
    "flex": "flex",
    "fortran-compiler": "gfortran",
    "gawk": "gawk",
    "gcc": "gcc",
    "gcc-linux-64": "gcc",
    "geckodriver": "geckodriver",
    "gfortran": "gfortran",
    "gfortran-linux-64": "gfortran",
    "gh": "gh",
    "ghostscript": "gs",
    "git": "git",
    "git-lfs": "git-lfs",
    "glpk": "glpsol",
    "gnuplot": "gnuplot",
    "go": "go",
    "google-cloud-sdk": "gcloud",
    "gradle": "gradle",
    "graphviz": "dot",
    "grep": "grep",
    "gxx": "g++",
    "gxx-linux-64": "g++",
    "hadoop": "hadoop",
    "htop": "htop",
    "imagemagick": "convert",
    "inkscape": "inkscape",
    "ipopt": "ipopt",
    "java-jdk": "java",
    "jq": "jq",
    "julia": "julia",
    "kubernetes-client": "kubectl",
    "kubernetes": "kubectl",
    "kubernetes-server": "kubelet",
    "kubectl": "kubectl",
    "less": "less",
    "lftp": "lftp",
    "libtool": "libtool",
    "m4": "m4",
    "make": "make",
    "maven": "mvn",
    "meson": "meson",
    "mongodb": "mongod",
    "mpich": "mpirun",
    "mysql": "mysql",
    "nano": "nano",
    "nodejs": "node",
    "octave": "octave",
    "openjdk": "java",
    "openmpi": "mpirun",
    "openssh": "ssh",
    "opencl": "clinfo",
    "orca": "orca",
    "p7zip": "7z",
    "pandoc": "pandoc",
    "parallel": "parallel",
    "patch": "patch",
    "patchelf": "patchelf",
    "perl": "perl",
    "phantomjs": "phantomjs",
    "pkg-config": "pkg-config",
    "plotly-orca": "orca",
    "poppler": "pdftotext",
    "posix": "sh",
    "postgresql": "psql",
    "protoc": "protoc",
    "r": "Rscript",
    "r-base": "Rscript",
    "r-essentials": "Rscript",
    "redis-server": "redis-server",
    "ripgrep": "rg",
    "rsync": "rsync",
    "ruby": "ruby",
    "rust": "rustc",
    "samtools": "samtools",
    "sbt": "sbt",
    "scala": "scala",
    "screen": "screen",
    "sed": "sed",
    "singularity": "singularity",
    "sox": "sox",
    "swig": "swig",
    "tar": "tar",
    "terraform": "terraform",
    "tesseract": "tesseract",
    "texlive-core": "pdflatex",
    "tmux": "tmux",
    "tree": "tree",
    "unrar": "unrar",
    "unzip": "unzip",
    "vim": "vim",
    "wget": "wget",
    "wkhtmltopdf": "wkhtmltopdf",
    "yarn": "yarn",
    "zip": "zip",
    "zsh": "zsh",
    "spark": "spark-submit",
    "mesa-libgl": "glxinfo",
    "libreoffice": "soffice",
}
"""Programs that conda would bring, and by what name they are called."""

_PROGRAM_PATTERNS = (
    (re.compile(r"(r|bioconductor)-[\w-]+"), "Rscript"),
    (re.compile(r"texlive[\w-]*"), "pdflatex"),
    (re.compile(r"(rust|cargo)-[\w-]+"), "rustc"),
    (re.compile(r"perl-[\w-]+"), "perl"),
)

_BUNDLED = _words(
    """
    abseil-cpp alsa-lib anaconda-anon-usage aom arpack arrow-cpp arrow-cpp-proc assimp at-spi2-atk
    at-spi2-core atk atk-1-0 attr backports binutils-impl blas blas-devel blis-impl blosc boost boost-cpp
    boost-deprecated brotli brotli-bin brunsli bzip2 c-ares c-blosc2 ca-certificates cairo ceres-solver
    cfitsio charls cloog cpp-expected cppzmq cpuonly cuda cudatoolkit cudatoolkit-dev cudnn curl-impl
    cusparselt cutensor cyrus-sasl daal dal dav1d dbus doit-c double-conversion eigen elfutils epoxy expat
    fasteners-c fftw fmt font-ttf fontconfig fonts-anaconda fonts-conda-ecosystem fonts-conda-forge
    freeglut freetype freexl fribidi gdk-pixbuf geos geotiff get-terminal-size gettext gflags giflib gl2ps
    glew glib glib-tools glog gmp gnutls graphite2 grpc-cpp gsl gst-plugins-base gst-plugins-good
    gstreamer gtest gtk2 gtk3 gts harfbuzz hdf4 hdf5 hicolor-icon-theme hiredis-c hwloc icc-rt icu igraph
    ilmbase imath impi-rt intel-cmplr-lib-rt intel-lisp intel-openmp isl jansson jasper jbig jemalloc
    jinja2-cli-base jpeg jpegxl json-c jsoncpp jxrlib kealib kernel-headers keyutils krb5 lame lcms2
    leptonica lerc level-zero leveldb libpython-static linux-pam lld llvm llvm-openmp llvm-tools llvmdev
    lmdb loguru-cpp lz4-c lzo magma-cuda metis mimalloc mkl mkl-devel mkl-fft mkl-include mkl-random
    mkl-service mpc mpfr mpg123 mpi mumps-seq muparser mysql-common mysql-libs nanoflann nccl ncurses
    nettle nlohmann-json nomkl nsight-compute nspr nss numactl ocl-icd ocl-icd-system openblas
    openblas-devel opencl-headers opencore-amr openexr openh264 openjpeg openldap openslide openssl orc
    ossuuid pandas-base pango parquet-cpp pcre pcre2 perl-base pixman poppler-data popt portaudio proj
    proj-data proj-datumgrid proj4 prometheus-cpp protobuf-cpp pthread-stubs ptl pugixml pulseaudio
    pulseaudio-client py-boost python-abi python-gil python-static pytorch-cuda pytorch-mutex qhull qt
    qt-base qt-main qt-webengine qt5compat qtbase qtdeclarative qtsvg qttools qtwebkit rdma-core re2
    readline rhash root-base s2n sdl2 simdjson sip sleef snappy spatialite spdlog sphinxcontrib sqlite
    sqlite-libs suitesparse superlu svt-av1 sysroot szip tbb tbb-devel tbb4py tcl thrift-compiler
    thrift-cpp tiledb tk tktable tzcode tzdata-python ucx ucx-cuda umfpack unicodedata2-base unixodbc
    uriparser utf8cpp utfcpp util-linux vc-runtime virtual-packages wayland wayland-protocols x264 x265
    xcb-util xcb-util-image xcb-util-keysyms xcb-util-renderutil xcb-util-wm xerces-c xkeyboard-config
    xorg xtensor xtl xvidcore xz xz-gpl-tools xz-tools yaml yaml-cpp zeromq zfp zlib zlib-ng zope zstd
    zziplib
    """
)
"""Libraries that wheels carry within them, or that are part of Python or of the system."""

_BUNDLED_PATTERNS = re.compile(
    r"_.*|lib.*|.*-impl-(linux|osx|win)-.*|.*-(linux|osx|win)-(64|32|aarch64|arm64|ppc64le)|sysroot-.*|kernel-headers-.*"
    r"|ld-impl.*|xorg-.*|gst-plugins-.*|cuda-.*|font-ttf-.*|fonts-.*|.*-mutex|(?!awkward|pytest).*-cpp"
    r"|.*-cos[67]-.*|aws-c-.*|aws-(checksums|crt-cpp|sdk-cpp)"
    r"|azure-.*-cpp|qt6?-(main|base|web\w+|declarative|svg|tools|multimedia)|python-abi3?|magma-cuda.*|mkl-.*"
    r"|nvidia-(cuda|cublas|cudnn|cufft|nccl).*|(kernel|opencl|vulkan)-headers"
)
_NOT_BUNDLED = _words(
    """
    cuda-bindings cuda-core cuda-python gst-python lib3to6 libarchive-c libchebipy libclang
    libcloudspawner libconeangle libcst libdlf libdlfind libertem libertem-asi-tpx3 libertem-blobfinder
    libertem-dectris libertem-live libhxl libigl libknot libmr libneuroml libopencv libpysal
    libretranslate librosa librouteros librt libsass libstempo libsvm-python libsvmdata libtmux libtpu
    libusb-package libusb1 libvirt-python libwapiti pytest-cpp
    """
)
"""Packages of Python whose names look like libraries."""

_PLATFORM = _words(
    """
    anaconda-powershell-prompt appnope appscript cctools cctools-osx-64 comtypes console-shortcut
    console-shortcut-miniconda icc-rt-win ld64 macfsevents macholib menuinst powershell-shortcut
    powershell-shortcut-miniconda pyobjc pyobjc-core pyreadline pyreadline3 python-app pythonnet pywin32
    pywin32-ctypes pywinpty sigtool tapi twisted-iocpsupport ucrt vc vc14-runtime vcomp14 vs2013-runtime
    vs2015-runtime vs2015-win-64 vs2017-win-64 vs2019-win-64 vswhere win-inet-pton win-unicode-console
    wincertstore windows-curses winpty winrt xlwings zstd-win
    """
)
_PLATFORM_PATTERNS = re.compile(r"m2-.*|m2w64-.*|msys2-.*|pyobjc-.*|vc\d+-runtime")

_CONDAS_OWN = _words(
    """
    aext-assistant aext-core aext-panels aext-project-filebrowser-server aext-share aext-shared
    aext-toolbox anaconda-anon-usage anaconda-catalogs anaconda-clean anaconda-client anaconda-cloud-auth
    anaconda-ident anaconda-navigator anaconda-project anaconda-toolbox archspec boa boltons-conda clyent
    constructor grayskull mamba micromamba miniconda navigator-updater nb-anacondacloud nb-conda
    nb-conda-kernels nbpresent pixi rattler-build reproc reproc-cpp spyder-conda
    """
)
_CONDAS_OWN_PATTERN = re.compile(r"conda(-.*)?|_?anaconda-depends|py-rattler-.*")

_DATA = re.compile(r"nltk-data|spacy-model-.*|stanfordnlp-data|gdal-data|opencv-data|spark-nlp-models")
_VARIANTS = (  # (pattern, name): a build for one accelerator or another is another package
    (re.compile(r"dgl-cu(da)?[\w-]*"), "dgl"),
    (re.compile(r"cudatoolkit.*"), ""),
)
_BUILD_TOOLS = frozenset({"pip", "setuptools", "wheel"})


def canonical(name: str) -> str:
    """A name in the one spelling of PEP 503; a leading underscore, conda's mark of a switch, is kept."""
    folded = re.sub(r"[-_.]+", "-", name.lower()).strip("-")
    return f"_{folded}" if name.startswith("_") else folded


def lookup(conda_name: str) -> Named:
    """What becomes of a conda package where there is no conda.

    A name that nobody knows is assumed to be the same on PyPI, which most are.
    """
    name = canonical(conda_name)
    if name in _BUILD_TOOLS or (name in SAME and name not in RENAMED):
        return Named(fate="same", names=(conda_name.lower(),))
    if names := RENAMED.get(name):
        same = len(names) == 1 and canonical(names[0].partition(" ;")[0]) == name
        return Named(fate="same" if same else "renamed", names=names)
    for pattern, variant_of in _VARIANTS:
        if variant_of and pattern.fullmatch(name):
            return Named(fate="renamed", names=(variant_of,))
    if name in _NOT_BUNDLED:
        return Named(fate="same", names=(conda_name.lower(),))
    if program := _program(name):
        return Named(fate="program", program=program)
    if fate := _without_python(name):
        return Named(fate=fate)
    return Named(fate="assumed", names=(conda_name.lower(),))


def _program(name: str) -> str | None:
    if name in PROGRAMS:
        return PROGRAMS[name]
    return next((program for pattern, program in _PROGRAM_PATTERNS if pattern.fullmatch(name)), None)


def _without_python(name: str) -> Fate | None:
    """For what is no package of PyPI: which kind it is."""
    if name in ONLY_CONDA:
        return "only-conda"
    if name in _PLATFORM or _PLATFORM_PATTERNS.fullmatch(name):
        return "platform"
    if name in _CONDAS_OWN or _CONDAS_OWN_PATTERN.fullmatch(name):
        return "conda"
    if _DATA.fullmatch(name):
        return "data"
    if name in _BUNDLED or _BUNDLED_PATTERNS.fullmatch(name):
        return "bundled"
    return None
