# mypy: ignore-errors
"""What the larger part of a client does: autolog, models with signatures, figures, tables, data sets, traces.

    python whole_models.py OUT.json

As `every_call.py`, and beside what that asks of the server, the files of models and the traces.
"""

import json
import os
import sys

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import mlflow
import mlflow.sklearn
import numpy as np
import pandas as pd
from every_call import OWN, VERSION, everything
from mlflow.models import infer_signature
from sklearn.linear_model import Ridge

FRAME = pd.DataFrame({"a": np.arange(40) / 40, "b": np.arange(40) % 7})
TARGET = FRAME.a * 2 + FRAME.b
LEFT_OUT = (
    "uuid",
    "time_created",
    "run_id",
    "model_id",
    "size",
    "artifact_path",
    "python_version",
    "sklearn_version",
)


def autologged():
    mlflow.sklearn.autolog(log_input_examples=True)
    with mlflow.start_run(run_name="autologged"):
        Ridge(alpha=0.3).fit(FRAME, TARGET)
    mlflow.sklearn.autolog(disable=True)


def by_hand():
    with mlflow.start_run(run_name="by hand") as run:
        model = Ridge(alpha=0.1).fit(FRAME, TARGET)
        where = {"name": "net"} if VERSION >= (3, 0) else {"artifact_path": "net"}
        mlflow.sklearn.log_model(
            model,
            signature=infer_signature(FRAME, model.predict(FRAME)),
            input_example=FRAME[:2],
            registered_model_name=OWN + "ridge",
            pip_requirements=[],
            **where,
        )
        figure, axes = plt.subplots()
        axes.plot([1, 2, 3])
        mlflow.log_figure(figure, "plots/line.png")
        mlflow.log_table({"x": [1, 2], "y": ["a", "b"]}, "table.json")
        mlflow.log_image(np.zeros((4, 4, 3), dtype="uint8"), "black.png")
        mlflow.log_input(mlflow.data.from_pandas(FRAME, source="frame.csv", name="frame"), context="training")
        with (
            mlflow.start_run(run_name="inside", nested=True),
            mlflow.start_run(run_name="deeper", nested=True),
        ):
            mlflow.set_tags({"depth": 2, "kind": "inner"})
    return run.info.run_id


@mlflow.trace(name="outer", attributes={"k": 1})
def traced(number):
    with mlflow.start_span(name="inner") as span:
        span.set_inputs({"n": number})
        span.set_outputs(number + 1)
    return number + 1


def described(folder):
    """Every file of a model by its name; of `MLmodel`, all that time and chance do not decide."""
    found = {}
    for base, _, names in os.walk(folder):
        for name in sorted(names):
            path = os.path.relpath(os.path.join(base, name), folder)
            found[path] = os.path.getsize(os.path.join(base, name)) > 0
            if name == "MLmodel":
                import yaml

                with open(os.path.join(base, name)) as stream:
                    said = yaml.safe_load(stream)
                found[path] = {key: it for key, it in said.items() if not key.endswith(LEFT_OUT)}
    return found


def main():
    mlflow.set_experiment(OWN + "models")
    autologged()
    run_id = by_hand()
    assert traced(1) == 2
    if hasattr(mlflow, "flush_trace_async_logging"):
        mlflow.flush_trace_async_logging()
    loaded = mlflow.sklearn.load_model("models:/" + OWN + "ridge/1")
    assert loaded.alpha == 0.1
    known = everything()
    known["found"] = {
        "model": described(mlflow.artifacts.download_artifacts("models:/" + OWN + "ridge/1")),
        "autologged": described(mlflow.artifacts.download_artifacts(autologged_uri(known))),
        "table": mlflow.load_table("table.json", run_ids=[run_id]).to_dict(),
        "traces": [
            [trace.info.status, [[span.name, span.inputs, span.outputs] for span in trace.data.spans]]
            for trace in mlflow.search_traces(
                experiment_ids=[mlflow.get_experiment_by_name(OWN + "models").experiment_id],
                return_type="list",
            )
        ],
    }
    with open(sys.argv[1], "w") as stream:
        json.dump(known, stream, indent=1, sort_keys=True, default=str)


def autologged_uri(known):
    run = next(each for each in known["runs"] if each["info"]["run_name"] == "autologged")
    return "runs:/" + run["info"]["run_id"] + "/model"


main()
