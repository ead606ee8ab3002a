# reads: train.csv
# writes: tool, copied.csv
# python-only misses: train.csv
set -e
cc -o tool tool.c
./tool train.csv copied.csv
