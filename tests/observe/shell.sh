# reads: letters.txt, train.csv, ../outside/prices.csv
# writes: sorted.txt, edited.txt, columns.txt, moved.txt
# python-only misses: letters.txt, train.csv, ../outside/prices.csv
set -e
cat letters.txt | sort > sorted.txt
sed s/a/x/ letters.txt > edited.txt
sed -i s/b/y/ edited.txt
awk -F, '{print $1}' train.csv > columns.txt
while read -r line; do :; done < ../outside/prices.csv
cp -p letters.txt temporary.txt
mv temporary.txt moved.txt
(cd .. && env -i sh -c 'cat "$1" > /dev/null' sh outside/prices.csv)
