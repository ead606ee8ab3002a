# reads: archive.tar, letters.txt
# writes: packed/letters.txt, new.tar.gz
# python-only misses: archive.tar, letters.txt
set -e
tar -xf archive.tar
tar -czf new.tar.gz letters.txt
