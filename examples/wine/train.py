"""Tell three Italian cultivars apart by the chemistry of their wine (scikit-learn's built-in data)."""

import argparse
import json

import joblib
import matplotlib
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

matplotlib.use("Agg")

parser = argparse.ArgumentParser()
parser.add_argument("--strength", type=float, default=1.0)
parser.add_argument("--test-share", type=float, default=0.3)
parser.add_argument("--seed", type=int, default=7)
arguments = parser.parse_args()

wine = load_wine()
features, held_out, cultivars, truth = train_test_split(
    wine.data, wine.target, test_size=arguments.test_share, random_state=arguments.seed, stratify=wine.target
)
model = make_pipeline(StandardScaler(), LogisticRegression(C=arguments.strength, max_iter=1000))
model.fit(features, cultivars)

metrics = {
    "accuracy": accuracy_score(truth, model.predict(held_out)),
    "log_loss": log_loss(truth, model.predict_proba(held_out)),
    "train": {"accuracy": model.score(features, cultivars)},
}
print(f"{len(features)} samples to learn from, {len(held_out)} held out: accuracy {metrics['accuracy']:.3f}")

joblib.dump(model, "model.joblib")
with open("metrics.json", "w") as file:
    json.dump(metrics, file, indent=2)
figure = ConfusionMatrixDisplay.from_estimator(model, held_out, truth, display_labels=wine.target_names).figure_
figure.savefig("confusion.png", dpi=100)
