"""Which distribution holds a module, and what it brings along.

The first is what the distribution's own wheel says (`top_level.txt`, `RECORD`), the reverse of
`importlib.metadata.packages_distributions()`.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from mlrun.env.asking.pypi_names import canonical, words
from mlrun.pattern import pattern

if TYPE_CHECKING:
    from collections.abc import Iterable

# fmt: off
_MODULES = {
    "absl": "absl-py", "airflow": "apache-airflow", "alibi_detect": "alibi-detect",
    "apache_beam": "apache-beam", "attr": "attrs", "autosklearn": "auto-sklearn", "ax": "ax-platform",
    "bayes_opt": "bayesian-optimization", "BeautifulSoup": "beautifulsoup4", "Bio": "biopython",
    "bs4": "beautifulsoup4", "category_encoders": "category-encoders", "Crypto": "pycryptodome",
    "Cryptodome": "pycryptodomex", "cv2": "opencv-python-headless",
    "databricks.connect": "databricks-connect", "databricks.feature_store": "databricks-feature-store",
    "databricks.sdk": "databricks-sdk", "databricks_cli": "databricks-cli", "dateutil": "python-dateutil",
    "delta": "delta-spark", "discord": "discord.py", "dns": "dnspython", "docx": "python-docx",
    "dotenv": "python-dotenv", "efficientnet_pytorch": "efficientnet-pytorch",
    "facenet_pytorch": "facenet-pytorch", "faiss": "faiss-cpu", "fasttext": "fasttext-wheel",
    "feature_engine": "feature-engine", "ffmpeg": "ffmpeg-python", "fitz": "PyMuPDF",
    "flask_cors": "Flask-Cors", "flask_restful": "Flask-RESTful", "flask_sqlalchemy": "Flask-SQLAlchemy",
    "gi": "PyGObject", "git": "GitPython", "github": "PyGithub", "google.auth": "google-auth",
    "google.genai": "google-genai", "google.generativeai": "google-generativeai",
    "google.oauth2": "google-auth", "google.protobuf": "protobuf",
    "googleapiclient": "google-api-python-client", "great_expectations": "great-expectations",
    "gym_anytrading": "gym-anytrading", "hydra": "hydra-core", "imblearn": "imbalanced-learn",
    "importlib_metadata": "importlib-metadata", "IPython": "ipython", "jose": "python-jose", "jwt": "PyJWT",
    "kafka": "kafka-python", "keras_preprocessing": "Keras-Preprocessing", "keras_tuner": "keras-tuner",
    "kerastuner": "keras-tuner", "langchain_community": "langchain-community",
    "langchain_openai": "langchain-openai", "Levenshtein": "python-Levenshtein", "magic": "python-magic",
    "memory_profiler": "memory-profiler", "mpl_toolkits": "matplotlib", "mysql": "mysql-connector-python",
    "MySQLdb": "mysqlclient", "OpenGL": "PyOpenGL", "OpenSSL": "pyOpenSSL", "osgeo": "GDAL",
    "paddle": "paddlepaddle", "paho": "paho-mqtt", "pandas_profiling": "pandas-profiling", "past": "future",
    "PIL": "pillow", "pkg_resources": "setuptools", "pl_bolts": "lightning-bolts",
    "plotly_express": "plotly-express", "pptx": "python-pptx", "prometheus_client": "prometheus-client",
    "psycopg2": "psycopg2-binary", "pylab": "matplotlib", "pynvml": "nvidia-ml-py",
    "pytorch_lightning": "pytorch-lightning", "pytorch_tabnet": "pytorch-tabnet", "pywt": "PyWavelets",
    "ruamel": "ruamel.yaml", "scikitplot": "scikit-plot", "segmentation_models": "segmentation-models",
    "segmentation_models_pytorch": "segmentation-models-pytorch",
    "sentence_transformers": "sentence-transformers", "serial": "pyserial", "skfuzzy": "scikit-fuzzy",
    "skimage": "scikit-image", "sklearn": "scikit-learn", "sklearn_crfsuite": "sklearn-crfsuite",
    "sklearn_pandas": "sklearn-pandas", "sklego": "scikit-lego", "skmultilearn": "scikit-multilearn",
    "skopt": "scikit-optimize", "sksurv": "scikit-survival", "slugify": "python-slugify",
    "snowflake.connector": "snowflake-connector-python", "snowflake.snowpark": "snowflake-snowpark-python",
    "socks": "PySocks", "speech_recognition": "SpeechRecognition", "stable_baselines3": "stable-baselines3",
    "surprise": "scikit-surprise", "talib": "TA-Lib", "telegram": "python-telegram-bot",
    "tensorflow_addons": "tensorflow-addons", "tensorflow_datasets": "tensorflow-datasets",
    "tensorflow_hub": "tensorflow-hub", "tensorflow_probability": "tensorflow-probability",
    "tensorflow_text": "tensorflow-text", "torch_geometric": "torch-geometric", "torchcrf": "pytorch-crf",
    "typing_extensions": "typing-extensions", "umap": "umap-learn", "usb": "pyusb",
    "websocket": "websocket-client", "werkzeug": "Werkzeug", "win32api": "pywin32", "win32com": "pywin32",
    "wx": "wxPython", "Xlib": "python-xlib", "yaml": "PyYAML", "ydata_profiling": "ydata-profiling",
    "zmq": "pyzmq",
}
_SAME = words(
    """
    accelerate aiohttp albumentations alembic altair arch arviz astropy autogluon bentoml bokeh boto3
    botocore captum catboost chromadb clearml click cloudpickle comet_ml cupy cvxpy cython dagshub
    dagster darts dask datasets deap deepchem deepspeed diffusers dill distributed docker docutils dvc
    dvclive einops eli5 evaluate evidently fastai fastapi fastparquet fbprophet feast featuretools fire
    flaml flask flwr fsspec future gcsfs gensim geopandas gluonnlp graphviz gunicorn gym gymnasium h2o
    h5py hdbscan holidays holoviews httpx huggingface_hub hyperopt ibis imageio implicit ipykernel
    ipywidgets jax jaxlib jinja2 joblib jsonschema kaggle kagglehub kedro keras kornia kubernetes
    langchain librosa lifelines lightfm lightgbm lightning lime llvmlite loguru lxml mapie marshmallow
    matplotlib metaflow minio missingno mlflow mlxtend mmcv modin monai mpi4py mxnet neptune networkx
    ngboost nltk nni numba numexpr numpy omegaconf onnx onnxmltools onnxruntime openai openpyxl optuna
    orjson packaging pandas pandera papermill patsy peft phik pingouin plotly pmdarima polars prefect
    prophet protobuf psutil pyarrow pycaret pydantic pydot pymc pymc3 pymongo pymysql pyod PyPDF2 PyQt5
    pyro pyspark pytesseract pytest pytz ray rdkit redis regex requests rich river s3fs sacred sagemaker
    scipy seaborn sentencepiece setuptools sh shap simplejson simpletransformers six skl2onnx skops
    sktime spacy sqlalchemy statsmodels streamlit sympy tables tabulate tenacity tensorboard
    tensorboardX tensorflow termcolor textblob tflearn theano thinc timm tokenizers toml toolz torch
    torchaudio torchmetrics torchtext torchvision tornado tpot tqdm transformers trl tsfresh tslearn
    typer ujson urllib3 uvicorn vaex vit_pytorch wandb wget wordcloud workalendar xarray xgboost xlrd
    xlsxwriter yellowbrick yfinance zarr
    """
)
# fmt: on
_NAMESPACES = (
    (pattern(r"google\.cloud\.(\w+)"), "google-cloud-{}"),
    (pattern(r"azure\.ai\.(\w+)"), "azure-ai-{}"),
    (pattern(r"azure\.keyvault\.(\w+)"), "azure-keyvault-{}"),
    (pattern(r"azure\.storage\.(\w+)"), "azure-storage-{}"),
    (pattern(r"azureml\.(\w+)"), "azureml-{}"),
    (pattern(r"azure\.(\w+)"), "azure-{}"),
    (pattern(r"ruamel\.(\w+)"), "ruamel.{}"),
    (pattern(r"zope\.(\w+)"), "zope.{}"),
    (pattern(r"backports\.(\w+)"), "backports.{}"),
    (pattern(r"opentelemetry\.sdk()"), "opentelemetry-sdk{}"),
    (pattern(r"opentelemetry()"), "opentelemetry-api{}"),
)
"""Packages that share a top module, a distribution each: `google.cloud.storage`."""

_GONE_FROM_STANDARD = words(
    """
    __builtin__ _winreg annotationlib anydbm asynchat asyncore audioop BaseHTTPServer binhex cgi
    CGIHTTPServer cgitb chunk commands compression ConfigParser Cookie cookielib copy_reg cPickle
    cProfile crypt cStringIO dbhash distutils dumbdbm dummy_thread dummy_threading exceptions formatter
    gdbm graphlib htmlentitydefs HTMLParser httplib imghdr imp lib2to3 macpath mailcap md5 msilib mutex
    new nis nntplib ossaudiodev parser pipes popen2 Queue repr rfc822 robotparser sets sgmllib sha
    SimpleHTTPServer smtpd sndhdr SocketServer spwd StringIO sunau symbol telnetlib thread tkFileDialog
    Tkinter tkMessageBox tomllib urllib2 urlparse user UserDict UserList UserString uu whichdb xdrlib
    xmlrpclib zoneinfo
    """
)
"""What was in some Python's standard library and is not in ours, or the other way round: the tables of
removed modules in https://docs.python.org/3/whatsnew/ and of renamed ones in PEP 3108."""

STANDARD_LIBRARY = frozenset(sys.stdlib_module_names) | _GONE_FROM_STANDARD


_OF_PROJECTS = words(
    """
    app common conf config configs constants core data data_loader dataloader dataset evaluation features
    helper helpers lib libs logger main metrics model models parameters params paths pipeline pipelines
    preprocess preprocessing preprocessor process scripts secrets settings source src steps tasks test
    tests tools train trainer training util utilities utils visualization
    """
)
"""Names that people give to modules of their own; PyPI has something unrelated under most of them."""


def distribution_of(module: str) -> str | None:
    """The distribution that holds a module (`sklearn.svm`); None where none does: the standard library.

    Where nothing is known of the module, the name of its top package, unless it is surely a project's own.
    """
    parts = module.split(".")
    if parts[0] in STANDARD_LIBRARY | _OF_PROJECTS or not re.fullmatch(r"[A-Za-z]\w*", parts[0], re.ASCII):
        return None
    known = _MODULES.get(".".join(parts[:2])) or _MODULES.get(parts[0])
    if known:
        return known
    for prefix, name in _NAMESPACES:
        if match := prefix.match(module):
            return name.format(match[1].replace("_", "-"))
    return None if parts[0] == "google" else parts[0].replace("_", "-")


def is_known(module: str) -> bool:
    """Whether a module's top package is surely that of a distribution."""
    top = module.partition(".")[0]
    return top in _SAME or top in _MODULES or top in ("google", "azure", "azureml", "ruamel", "opentelemetry")


def holds_known_module(distribution: str) -> bool:
    """Whether a distribution is one of those that the tables here know."""
    known = {canonical(name) for name in (*_MODULES.values(), *_SAME)}
    name = canonical(distribution)
    return name in known or name.startswith(("google-cloud-", "azure-", "azureml-", "opentelemetry-"))


# fmt: off
_BRINGS = {
    "black": "click",
    "boto3": "botocore",
    "catboost": "graphviz matplotlib numpy pandas plotly scipy",
    "dask": "cloudpickle fsspec pyyaml toolz",
    "databricks-connect": "pyspark",
    "datasets": "numpy pandas pyarrow requests tqdm",
    "dvc": "hydra-core omegaconf pyyaml requests tqdm",
    "evidently": "numpy pandas plotly scikit-learn scipy",
    "faiss-gpu": "faiss-cpu numpy",
    "fastai": "matplotlib pandas scikit-learn torch torchvision",
    "fastapi": "pydantic starlette",
    "featuretools": "numpy pandas scipy",
    "flask": "click jinja2 werkzeug",
    "gensim": "numpy scipy",
    "geopandas": "fiona numpy pandas pyproj shapely",
    "hydra-core": "omegaconf",
    "hyperopt": "cloudpickle future networkx numpy scipy tqdm",
    "imbalanced-learn": "joblib numpy scikit-learn scipy",
    "ipykernel": "ipython",
    "jupyter": "ipykernel nbconvert notebook",
    "kedro": "omegaconf pluggy",
    "keras": "h5py numpy",
    "langchain": "numpy pydantic pyyaml requests",
    "librosa": "joblib numba numpy scikit-learn scipy",
    "lightgbm": "numpy scipy",
    "lightning": "numpy torch",
    "matplotlib": "cycler numpy pillow python-dateutil",
    "mlflow": "alembic click cloudpickle docker flask gitpython graphene gunicorn jinja2 joblib "
    "matplotlib numpy packaging pandas protobuf pyarrow pytz pyyaml requests scikit-learn scipy "
    "sqlalchemy",
    "mlflow-skinny": "click cloudpickle gitpython packaging protobuf pyyaml requests",
    "mlxtend": "joblib matplotlib numpy pandas scikit-learn scipy",
    "notebook": "ipykernel ipython jupyter",
    "opencv-contrib-python": "numpy opencv-python-headless",
    "opencv-python": "numpy opencv-python-headless",
    "optuna": "alembic numpy pyyaml sqlalchemy tqdm",
    "pandas": "numpy python-dateutil pytz",
    "pandas-profiling": "matplotlib numpy pandas seaborn",
    "plotly": "tenacity",
    "prophet": "cmdstanpy holidays matplotlib numpy pandas",
    "psycopg2": "psycopg2-binary",
    "pycaret": "imbalanced-learn joblib lightgbm matplotlib numpy pandas plotly scikit-learn scipy",
    "pymc3": "arviz numpy pandas scipy theano",
    "pyspark": "py4j",
    "pytorch-lightning": "numpy torch tqdm",
    "ray": "click numpy pyyaml",
    "sagemaker": "boto3 numpy pandas pyyaml",
    "scikit-image": "imageio networkx numpy pillow scipy",
    "scikit-learn": "joblib numpy scipy threadpoolctl",
    "scipy": "numpy",
    "seaborn": "matplotlib numpy pandas scipy",
    "sentence-transformers": "huggingface-hub nltk numpy pillow scikit-learn scipy torch tqdm transformers",
    "shap": "numba numpy pandas scikit-learn scipy tqdm",
    "spacy": "numpy pydantic requests tqdm",
    "statsmodels": "numpy pandas patsy scipy",
    "streamlit": "altair numpy pandas pillow pyarrow requests",
    "tensorflow": "absl-py h5py keras numpy protobuf six tensorboard",
    "tensorflow-cpu": "absl-py h5py keras numpy protobuf tensorboard tensorflow",
    "torch": "numpy typing-extensions",
    "torchvision": "numpy pillow torch",
    "transformers": "huggingface-hub numpy pyyaml requests tokenizers tqdm",
    "wandb": "click protobuf pyyaml requests",
    "xgboost": "numpy scipy",
    "ydata-profiling": "matplotlib numpy pandas",
    "yfinance": "numpy pandas requests",
}
# fmt: on
"""What a distribution has brought along in every version that is still met, of what projects import: its own
metadata on PyPI (`requires_dist`)."""


def brought_by(names: Iterable[str]) -> set[str]:
    """Distributions, by their canonical names, and what they bring along."""
    waiting = list(names)
    found: set[str] = set()
    for name in waiting:
        if name not in found:
            found.add(name)
            waiting += _BRINGS.get(name, "").split()
    return found
