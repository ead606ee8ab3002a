"""Makes what the other programs here read; run first."""

# writes: archive.tar, array.npy, data.pkl, images, letters.txt, mapped.dat, shop.db, train.csv, train.csv.gz
# writes: ../outside/prices.csv
import array
import csv
import gzip
import pathlib
import pickle
import sqlite3
import struct
import tarfile

rows = [[number, number * 2 % 7, number % 2] for number in range(200)]
for name, opener in (("train.csv", open), ("../outside/prices.csv", open), ("train.csv.gz", gzip.open)):
    pathlib.Path(name).parent.mkdir(exist_ok=True)
    with opener(name, "wt", newline="") as file:
        csv.writer(file).writerows([["a", "b", "label"], *rows])
with open("letters.txt", "w") as file:
    file.write("c\na\nb\n")
with open("data.pkl", "wb") as file:
    pickle.dump(rows, file)
with open("mapped.dat", "wb") as file:
    array.array("d", range(100)).tofile(file)
header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100,), }".ljust(117) + b"\n"
with open("array.npy", "wb") as file:
    file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    array.array("d", range(100)).tofile(file)
with sqlite3.connect("shop.db") as database:
    database.execute("create table sales (day, amount)")
    database.executemany("insert into sales values (?, ?)", [(day, day * 3) for day in range(30)])
for kind in ("cats", "dogs"):
    folder = pathlib.Path("images", kind)
    folder.mkdir(parents=True)
    for number in range(25):
        folder.joinpath(f"{number}.png").write_bytes(bytes([number]) * 50)
with tarfile.open("archive.tar", "w") as archive:
    archive.add("letters.txt", "packed/letters.txt")
