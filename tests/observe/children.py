# reads: letters.txt, train.csv, data.pkl
# writes: copy.csv, sizes.txt
# python-only misses: letters.txt, data.pkl
import subprocess
import sys

subprocess.run(["cat", "letters.txt"], check=True, stdout=subprocess.DEVNULL)
code = "import shutil; shutil.copyfile('train.csv', 'copy.csv')"
subprocess.run([sys.executable, "-c", code], check=True)
code = "import os; open('sizes.txt', 'w').write(str(len(open('data.pkl', 'rb').read())))"
subprocess.run([sys.executable, "-c", code], check=True, env={"PATH": ""})  # a child with nothing of ours
