# mypy: ignore-errors
"""Everything that a client of MLflow does with a tracking server, for whatever version runs this.

    python every_call.py OUT.json

In the end all that the server then knows is asked of it in plain HTTP and written to OUT.json, so that two
servers can be compared that were told the same.
"""

import base64
import json
import os
import sys
import tempfile
import urllib.parse
import urllib.request

import mlflow
from mlflow.entities import Metric, Param, RunTag

VERSION = tuple(int(part) for part in mlflow.__version__.split(".")[:2])
OWN = "v" + str(VERSION[0]) + "."  # what is made bears it, so that several versions can use one server
T = 1763712000123
FILES = tempfile.mkdtemp()


def file(name, text):
    path = os.path.join(FILES, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as stream:
        stream.write(text)
    return path


def refused(call, *arguments, **options):
    """What cannot be done is refused with the same code by both."""
    try:
        call(*arguments, **options)
    except mlflow.exceptions.MlflowException as error:
        REFUSALS.append(error.error_code)
    else:
        REFUSALS.append(None)


REFUSALS = []
FOUND = {}


def experiments(client):
    first = client.create_experiment(OWN + "plain")
    client.create_experiment(OWN + "with tags", **({"tags": {"a": "b"}} if VERSION >= (1, 24) else {}))
    client.set_experiment_tag(first, "team", "ä ö ü")
    client.rename_experiment(first, OWN + "renamed")
    other = client.create_experiment(OWN + "to be deleted")
    client.delete_experiment(other)
    gone = client.create_experiment(OWN + "deleted and restored")
    client.delete_experiment(gone)
    client.restore_experiment(gone)
    refused(client.create_experiment, OWN + "renamed")
    refused(client.create_experiment, OWN + "to be deleted")
    refused(client.get_experiment, "987654")
    assert client.get_experiment_by_name("no such") is None
    if VERSION >= (1, 28):
        FOUND["experiments"] = [
            [each.name for each in client.search_experiments(filter_string=text) if each.name.startswith(OWN)]
            for text in ("name LIKE '%re%'", "tags.team = 'ä ö ü'", "name ILIKE '%DEL%'", "name != 'x'")
        ]
    else:
        client.list_experiments()


def fluent(client):
    mlflow.set_experiment(OWN + "fluent")
    with mlflow.start_run(run_name="parent") as parent:
        mlflow.log_param("alpha", 0.5)
        mlflow.log_param("alpha", 0.5)
        refused(client.log_param, parent.info.run_id, "alpha", 0.6)
        mlflow.log_params({"text": "a b", "empty": "", "list": [1, 2], "n/a": None, "ünï": "cödé ☃"})
        for step in range(5):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"a": 1, "b/c d": -2.5e-300}, step=7)
        mlflow.log_metric("huge", 1.5e300)
        mlflow.set_tag("stage", "one")
        mlflow.set_tag("stage", "two")
        mlflow.set_tags({"x": 1, "mlflow.note.content": "a note\nof two lines"})
        mlflow.log_artifact(file("one.txt", "one"))
        mlflow.log_artifact(file("two.txt", "two"), "sub dir/ü")
        file("tree/a/b.txt", "b")
        file("tree/c.txt", "")
        mlflow.log_artifacts(os.path.join(FILES, "tree"), "tree")
        if VERSION >= (1, 13):
            mlflow.log_text("text", "texts/t.txt")
            mlflow.log_dict({"k": [1, 2]}, "d.json")
        with mlflow.start_run(run_name="child", nested=True):
            mlflow.log_param("alpha", 0.7)
            mlflow.log_metric("loss", 3)
        if VERSION >= (2, 4):
            from mlflow.entities import Dataset, DatasetInput, InputTag

            dataset = Dataset(
                "iris", "abc123", "local", '{"uri": "iris.csv"}', '{"mlflow_colspec": []}', '{"n": 3}'
            )
            tag = InputTag("mlflow.data.context", "training")
            client.log_inputs(parent.info.run_id, [DatasetInput(dataset, [tag])])
            client.log_inputs(parent.info.run_id, [DatasetInput(dataset, [tag])])
    try:
        with mlflow.start_run(run_name="fails"):
            raise KeyError
    except KeyError:
        pass
    return parent.info.run_id


def low_level(client):
    experiment = client.get_experiment_by_name(OWN + "renamed").experiment_id
    run = client.create_run(experiment, start_time=T, tags={"mlflow.runName": "low", "t": "1"})
    run_id = run.info.run_id
    client.log_batch(
        run_id,
        metrics=[
            Metric("m", 1.0, T, 0),
            Metric("m", 5.0, T + 10, 3),
            Metric("m", 2.0, T + 20, 2),
            Metric("m", 2.0, T + 20, 2),
            Metric("tie", 1.0, T, 1),
            Metric("tie", 9.0, T, 1),
            Metric("tie", 3.0, T, 1),
            Metric("negative step", 3.0, T, -4),
        ],
        params=[Param("p" + str(i), str(i)) for i in range(100)],
        tags=[RunTag("tag", "value"), RunTag("long", "x" * 4000)],
    )
    client.log_metric(run_id, "nan", float("nan"), timestamp=T, step=1)
    client.log_metric(run_id, "inf", float("inf"), timestamp=T, step=1)
    client.set_tag(run_id, "short", "lived")
    client.delete_tag(run_id, "short")
    client.set_terminated(run_id, "KILLED", T + 60000)
    if VERSION >= (2, 0):
        client.update_run(run_id, status="FINISHED", name="renamed run")
    deleted = client.create_run(experiment, start_time=T + 1, tags={"mlflow.runName": "deleted"})
    client.delete_run(deleted.info.run_id)
    refused(client.log_metric, deleted.info.run_id, "m", 1.0)
    restored = client.create_run(experiment, start_time=T + 2, tags={"mlflow.runName": "restored"})
    client.delete_run(restored.info.run_id)
    client.restore_run(restored.info.run_id)
    refused(client.get_run, "0" * 32)
    refused(client.delete_tag, run_id, "no such tag")
    refused(client.log_batch, run_id, metrics=[Metric("../evil", 1.0, T, 0)])
    refused(client.log_batch, run_id, params=[Param("p1", "another")])
    refused(client.log_param, run_id, "long", "x" * 10000)
    refused(client.create_run, "987654")
    FOUND["history"] = [[each.value, each.step] for each in client.get_metric_history(run_id, "m")]


def searches(client):
    ids = [client.get_experiment_by_name(OWN + name).experiment_id for name in ("fluent", "renamed")]
    filters = [
        "", "metrics.loss < 1", "metrics.loss >= 3 and params.alpha = '0.7'", "params.alpha != '0.5'",
        "attributes.status = 'FAILED'", "status != 'FINISHED'", "tags.stage = 'two'", "tags.x LIKE '%'",
        "tags.`mlflow.note.content` LIKE '%TWO%'", "tags.`mlflow.note.content` ILIKE '%TWO%'",
        'params.text = "a b"', "metrics.`b/c d` < 0", "attribute.artifact_uri != 'x'",
    ]  # fmt: skip
    if VERSION >= (2, 0):
        filters += [
            "attributes.run_name = 'parent'",
            "attributes.start_time > 1763712000000",
            "run_name LIKE '%r%'",
        ]
        FOUND["parents"] = search(client, ids, "tags.`mlflow.parentRunId` LIKE '%'")
    FOUND["runs"] = [sorted(search(client, ids, text)) for text in filters]
    orders = [
        ["metrics.loss ASC"],
        ["metrics.loss DESC"],
        ["params.alpha", "attributes.start_time DESC"],
        ["start_time"],
    ]
    FOUND["orders"] = [search(client, ids, "tags.mlflow.runName LIKE '%'", order)[:3] for order in orders]
    pages = client.search_runs(ids, max_results=2)
    more = client.search_runs(ids, max_results=2, page_token=pages.token)
    FOUND["pages"] = [len(pages), len(more), bool(pages.token)]
    for text in (
        "metrics.loss = 'x'",
        "params.alpha = 5",
        "status = 'FINISHED' or status = 'FAILED'",
        "a b c",
        "x.y = '1'",
    ):
        refused(client.search_runs, ids, text)
    FOUND["deleted"] = len(client.search_runs(ids, run_view_type=mlflow.entities.ViewType.DELETED_ONLY))


def search(client, ids, text, order=()):
    return [
        each.data.tags.get("mlflow.runName", "")
        for each in client.search_runs(ids, text, order_by=list(order))
    ]


def registry(client, run_id):
    client.create_registered_model(OWN + "churn")
    refused(client.create_registered_model, OWN + "churn")
    client.set_registered_model_tag(OWN + "churn", "owner", "ada")
    client.update_registered_model(OWN + "churn", "who leaves")
    uri = client.get_run(run_id).info.artifact_uri
    for _ in range(3):
        client.create_model_version(OWN + "churn", uri + "/tree", run_id)
    client.update_model_version(OWN + "churn", "1", "the first")
    client.set_model_version_tag(OWN + "churn", "1", "checked", "yes")
    client.set_model_version_tag(OWN + "churn", "1", "unchecked", "yes")
    client.delete_model_version_tag(OWN + "churn", "1", "unchecked")
    client.transition_model_version_stage(OWN + "churn", "1", "Production")
    client.transition_model_version_stage(OWN + "churn", "2", "production", archive_existing_versions=True)
    client.delete_model_version(OWN + "churn", "3")
    client.create_registered_model(OWN + "other")
    client.rename_registered_model(OWN + "other", OWN + "another")
    client.create_registered_model(OWN + "gone")
    client.delete_registered_model(OWN + "gone")
    refused(client.get_registered_model, OWN + "gone")
    refused(client.get_model_version, OWN + "churn", "3")
    refused(client.transition_model_version_stage, OWN + "churn", "1", "Nowhere")
    if VERSION >= (2, 3):
        client.set_registered_model_alias(OWN + "churn", "champion", "2")
        client.set_registered_model_alias(OWN + "churn", "old", "1")
        client.delete_registered_model_alias(OWN + "churn", "old")
        FOUND["alias"] = client.get_model_version_by_alias(OWN + "churn", "champion").version
        refused(client.get_model_version_by_alias, OWN + "churn", "old")
    FOUND["latest"] = sorted(each.version for each in client.get_latest_versions(OWN + "churn"))
    FOUND["versions"] = sorted(
        each.version for each in client.search_model_versions("name='" + OWN + "churn'")
    )
    FOUND["models"] = [
        each.name for each in client.search_registered_models("name LIKE '%n%'") if each.name.startswith(OWN)
    ]
    FOUND["download"] = client.get_model_version_download_uri(OWN + "churn", "1") == uri + "/tree"


def logged_models(client, run_id):
    from mlflow.entities import LoggedModelOutput

    experiment = client.get_experiment_by_name(OWN + "renamed").experiment_id
    model = client.create_logged_model(
        experiment, name="net", source_run_id=run_id, params={"d": "3"}, tags={"k": "v"}
    )
    client.log_model_params(model.model_id, {"e": "4"})
    client.set_logged_model_tags(model.model_id, {"k2": "v2", "k3": "v3"})
    client.delete_logged_model_tag(model.model_id, "k3")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 2)])
    client.log_metric(run_id, "accuracy", 0.9, timestamp=T, step=2, model_id=model.model_id)
    client.log_metric(
        run_id,
        "loss",
        7.0,
        timestamp=T,
        step=9,
        model_id=model.model_id,
        dataset_name="d",
        dataset_digest="x",
    )
    client.finalize_logged_model(model.model_id, "READY")
    other = client.create_logged_model(experiment, name="broken")
    client.finalize_logged_model(other.model_id, "FAILED")
    FOUND["logged"] = [
        sorted(each.name for each in client.search_logged_models([experiment], text))
        for text in (
            "name = 'net'",
            "params.d = '3'",
            "tags.k = 'v'",
            "metrics.accuracy > 0.5",
            "name LIKE 'b%'",
        )
    ]
    refused(client.get_logged_model, "m-" + "0" * 32)


# --- what the server knows now ------------------------------------------------------------------------


def ask(method, where, **fields):
    url, data = os.getenv("MLFLOW_TRACKING_URI") + where, None
    if method == "GET":
        url += "?" + urllib.parse.urlencode(fields, doseq=True)
    else:
        data = json.dumps(fields).encode()
    headers = {"Content-Type": "application/json"}
    if os.getenv("MLFLOW_TRACKING_USERNAME"):
        pair = os.getenv("MLFLOW_TRACKING_USERNAME") + ":" + os.getenv("MLFLOW_TRACKING_PASSWORD")
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    elif os.getenv("MLFLOW_TRACKING_TOKEN"):
        headers["Authorization"] = "Bearer " + os.getenv("MLFLOW_TRACKING_TOKEN")
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method)) as answer:
        return json.load(answer)


def listing(run_id, path=None):
    found = ask("GET", "/api/2.0/mlflow/artifacts/list", run_id=run_id, **({"path": path} if path else {}))
    for each in found.get("files", []):
        yield each
        if each["is_dir"]:
            yield from listing(run_id, each["path"])


def everything():
    api = "/api/2.0/mlflow/"
    known = {"experiments": [], "runs": [], "refusals": REFUSALS, "found": FOUND}
    known["experiments"] = [
        each
        for each in ask("POST", api + "experiments/search", max_results=1000, view_type="ALL")["experiments"]
        if each["name"].startswith(OWN)
    ]
    ids = [each["experiment_id"] for each in known["experiments"]]
    known["runs"] = ask(
        "POST", api + "runs/search", experiment_ids=ids, run_view_type="ALL", max_results=1000
    )["runs"]
    for run in known["runs"]:
        run_id = run["info"]["run_id"]
        keys = sorted(each["key"] for each in run["data"].get("metrics", []))
        history = {
            key: ask("GET", api + "metrics/get-history", run_id=run_id, metric_key=key) for key in keys
        }
        run["history"] = {key: each.get("metrics", []) for key, each in history.items()}
        run["files"] = list(listing(run_id))
    models = ask("GET", api + "registered-models/search", max_results=100).get("registered_models", [])
    known["models"] = [each for each in models if each["name"].startswith(OWN)]
    versions = ask("GET", api + "model-versions/search", max_results=100).get("model_versions", [])
    known["versions"] = [each for each in versions if each["name"].startswith(OWN)]
    known["logged"] = ask("POST", api + "logged-models/search", experiment_ids=ids).get("models", [])
    return known


def main():
    client = mlflow.tracking.MlflowClient()
    experiments(client)
    run_id = fluent(client)
    low_level(client)
    searches(client)
    if "--no-registry" not in sys.argv:  # a server of 3.x does not answer the registry calls of 1.x
        registry(client, run_id)
    if VERSION >= (3, 0):
        logged_models(client, run_id)
    with open(sys.argv[1], "w") as stream:
        json.dump(everything(), stream, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
