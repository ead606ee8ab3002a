# line.sh FILE: the least-squares line through the points x,y of a file, as `intercept slope`
awk -F, '
  { n++; sx += $1; sy += $2; sxx += $1 * $1; sxy += $1 * $2 }
  END { slope = (n * sxy - sx * sy) / (n * sxx - sx * sx); print (sy - slope * sx) / n, slope }
' "$1"
