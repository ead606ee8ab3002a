# mypy: ignore-errors
"""A model trained, logged, registered and loaded back; a step of a project; a store of the script's own."""

import os

import mlflow
import mlflow.sklearn
import numpy as np
from sklearn.linear_model import Ridge

x = np.random.RandomState(0).rand(50, 3)
mlflow.set_experiment("wine")
mlflow.sklearn.autolog(log_models=False)
with mlflow.start_run() as run:
    model = Ridge(alpha=0.3).fit(x, x @ [1, 2, 3])
    mlflow.sklearn.log_model(model, name="model", pip_requirements=[], registered_model_name="ridge")
    mlflow.log_input(mlflow.data.from_numpy(x, source="x.npy"), context="training")
    step = mlflow.run(os.path.dirname(__file__), "step", parameters={"n": 3}, env_manager="local")

client = mlflow.MlflowClient()
assert client.get_run(step.run_id).data.metrics == {"twice": 6.0}
client.set_registered_model_alias("ridge", "champion", "1")
for uri in ("models:/ridge@champion", "models:/ridge/1", "runs:/" + run.info.run_id + "/model"):
    assert mlflow.sklearn.load_model(uri).alpha == 0.3


@mlflow.trace
def traced():
    return 1


traced()
mlflow.flush_trace_async_logging()
mlflow.set_tracking_uri("file:./mine")
mlflow.set_experiment("own")
with mlflow.start_run():
    mlflow.log_param("elsewhere", 1)
