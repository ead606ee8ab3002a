# reads: images
# writes: parts
import concurrent.futures
import os
import pathlib


def copy(path):
    (parts / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())


parts = pathlib.Path("parts")
parts.mkdir()
os.chdir("images")
images = sorted(pathlib.Path().rglob("*.png"))
parts = pathlib.Path("../parts")
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(copy, images))
