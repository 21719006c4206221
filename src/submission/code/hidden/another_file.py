import runpy
runpy.run_path("../other/train_gpt.py", run_name="__main__")
# ----
exec(open("real_train.py").read())
# ----
from pathlib import Path
exec(compile(Path(__file__).with_name("impl.txt").read_text(), "impl", "exec"))
# ----
import importlib.util
spec = importlib.util.spec_from_file_location("real", "/data/real_train.py")
mod = importlib.util.module_from_spec(spec)
# ----
import importlib.util, os
spec = importlib.util.spec_from_file_location("m", os.path.join(os.path.dirname(__file__), "m.txt"))
# ----
from importlib.machinery import SourceFileLoader
real = SourceFileLoader("real", "hidden/real.py").load_module()
# ----
import sys
sys.path.insert(0, "code.zip")
# ----
import subprocess
subprocess.run([sys.executable, "eval_ngram.py"])
# ----
import os
os.system("python3 other/train_gpt.py")
# ----
import os, sys
os.execv(sys.executable, [sys.executable, "train_real.py"])
# ----
import runpy, os
runpy.run_path(os.path.join(os.path.dirname(__file__), "data", "x"))
# ----
import runpy
runpy.run_module("real_train", run_name="__main__")
# ----
with open("notes.txt") as f:
    text = f.read()
config = eval(text)
# ----
import zipimport
real = zipimport.zipimporter("model.zip").load_module("real")
# ----
import json
spec = json.load(open("spec.json"))
table = eval(spec["table"])
