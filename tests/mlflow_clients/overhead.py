# mypy: ignore-errors
"""What a logged metric costs: seconds for each of some, to the server that the variables name."""

import sys
import time

import mlflow

mlflow.set_experiment("overhead")
with mlflow.start_run():
    mlflow.log_metric("warm", 0)
    start = time.perf_counter()
    for step in range(int(sys.argv[1])):
        mlflow.log_metric("m", step, step=step)
    sys.stdout.write(str((time.perf_counter() - start) / int(sys.argv[1])) + "\n")
