# reads: images
# writes: sums-fork.txt, sums-spawn.txt
import multiprocessing
import pathlib


def size(path):
    return len(path.read_bytes())


if __name__ == "__main__":
    paths = sorted(pathlib.Path("images").rglob("*.png"))
    for method, part in (("fork", paths[::2]), ("spawn", paths[1::2])):
        with multiprocessing.get_context(method).Pool(2) as pool:
            sizes = pool.map(size, part, chunksize=1)
        pathlib.Path(f"sums-{method}.txt").write_text(str(sum(sizes)))
