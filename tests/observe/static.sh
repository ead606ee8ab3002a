# reads: train.csv
# writes: tool, copied.csv
# shim misses: train.csv
# python-only misses: train.csv
set -e
cc -static -o tool tool.c
./tool train.csv copied.csv
