# mypy: ignore-errors
"""The step that train.py runs."""

import sys

import mlflow

with mlflow.start_run():
    mlflow.log_metric("twice", 2 * int(sys.argv[1]))
    mlflow.log_text("done", "done.txt")
