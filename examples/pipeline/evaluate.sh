# evaluate.sh TEST MODEL...: the root of the mean squared error of each model, as JSON
set -e
test=$1
shift
separator='{'
for model in "$@"; do
  read -r intercept slope < "$model"
  rmse=$(awk -F, -v a="$intercept" -v b="$slope" '
    { e = $2 - a - b * $1; sum += e * e; n++ } END { print sqrt(sum / n) }' "$test")
  printf '%s"%s_rmse": %s' "$separator" "$(basename "$model" .txt)" "$rmse"
  separator=', '
done
echo '}'
