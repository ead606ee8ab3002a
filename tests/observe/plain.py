# reads: train.csv, train.csv.gz, data.pkl, ../outside/prices.csv
# writes: rows.json, again.pkl, log.txt
import csv
import gzip
import json
import os
import pickle
import tempfile

with open("train.csv", newline="") as file, gzip.open("train.csv.gz", "rt") as packed:
    rows = [*csv.reader(file), *csv.reader(packed)]
with open("../outside/prices.csv") as file:
    rows += csv.reader(file)
with open("data.pkl", "rb") as file, open("again.pkl", "wb") as other:
    pickle.dump(pickle.load(file), other)
with open("rows.json", "w") as file:
    json.dump(rows, file)
with open("rows.json") as file:  # what a run made itself is no input
    json.load(file)
with open("log.txt", "a") as file:
    file.write("done\n")
with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "scratch"), "w+") as file:
    file.write("gone in a moment")
with open("half", "w") as file:
    pass
os.remove("half")
