#!/bin/sh
# Fit y = a*x + b to points by gradient descent, in awk, and report the error of every twentieth step.
set -eu
data=$1 rate=$2 steps=$3

awk -F, -v rate="$rate" -v steps="$steps" -v metrics="${MLRUN_METRICS:-/dev/null}" '
  NR > 1 { x[++n] = $1; y[n] = $2 }
  END {
    for (step = 1; step <= steps; step++) {
      da = db = error = 0
      for (i = 1; i <= n; i++) {
        r = a * x[i] + b - y[i]
        da += 2 * r * x[i] / n; db += 2 * r / n; error += r * r / n
      }
      a -= rate * da; b -= rate * db
      if (step % 20 == 0 || step == steps)
        printf "{\"name\": \"mse\", \"value\": %.6f, \"step\": %d}\n", error, step >> metrics
    }
    printf "y = %.4f x + %.4f\n", a, b
  }' "$data" | tee line.txt
