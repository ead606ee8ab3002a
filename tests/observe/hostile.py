# reads: nothing
# writes: hostile
import os

os.mkdir("hostile")
os.chdir(b"hostile")
names = [b"a\nb", b" ", b"\xff\xfe", b'"quoted"', b"\\x41", "ü<é>".encode(), b"-rf", b"a" * 255]
names += [b"%d\t" % number for number in range(15)]
for name in names:
    with open(name, "wb") as file:
        file.write(name)
