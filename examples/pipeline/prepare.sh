# prepare.sh FILE EVERY: splits measurements into data/train.csv and data/test.csv
set -e
mkdir -p data
awk -F, -v every="$2" 'NR > 1 { print > (NR % every ? "data/train.csv" : "data/test.csv") }' "$1"
