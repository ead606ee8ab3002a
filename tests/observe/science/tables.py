# reads: train.csv, table.parquet
# writes: scored.csv, out.parquet
# python-only misses: table.parquet
import pandas
from pyarrow import parquet

frame = pandas.read_csv("train.csv")
frame["c"] = frame.a + parquet.read_table("table.parquet").to_pandas().b
frame.to_csv("scored.csv")
frame.to_parquet("out.parquet")
