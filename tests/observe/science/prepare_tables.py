# reads: train.csv
# writes: table.parquet, model.joblib
import joblib
import pandas

frame = pandas.read_csv("train.csv")
frame.to_parquet("table.parquet")
joblib.dump(frame, "model.joblib")
