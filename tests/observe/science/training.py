# reads: train.csv, model.joblib, images
# writes: fitted.joblib, fitted.pkl
import pathlib
import pickle

import joblib
import pandas
from sklearn.ensemble import RandomForestClassifier


def size(path):
    return len(path.read_bytes())


if __name__ == "__main__":
    frame = pandas.read_csv("train.csv")
    joblib.load("model.joblib")
    joblib.Parallel(n_jobs=2)(joblib.delayed(size)(path) for path in pathlib.Path("images").rglob("*.png"))
    forest = RandomForestClassifier(10, n_jobs=2, random_state=0).fit(frame[["a", "b"]], frame.label)
    joblib.dump(forest, "fitted.joblib")
    with open("fitted.pkl", "wb") as file:
        pickle.dump(forest, file)
