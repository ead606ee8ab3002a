# reads: letters.txt
# writes: model.bin, state.json, checkpoints/last
import os
import tempfile

with open("letters.txt", "rb") as file:
    letters = file.read()
for name in ("model.bin", "state.json"):
    with tempfile.NamedTemporaryFile(dir=".", delete=False) as temporary:
        temporary.write(letters)
    os.replace(temporary.name, name)
os.makedirs("checkpoints.tmp")
with open("checkpoints.tmp/last", "wb") as file:
    file.write(letters)
os.rename("checkpoints.tmp", "checkpoints")
