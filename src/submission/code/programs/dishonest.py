import subprocess
subprocess.run(["./run", "--train"])
# ----
import subprocess as sp
sp.check_call("./eval_bin --model final.ptz", shell=True)
# ----
from os import system as shell
shell("chmod +x solver && ./solver")
# ----
from subprocess import Popen
proc = Popen([os.path.join(os.path.dirname(__file__), "scorer"), "val.bin"], stdout=PIPE)
# ----
import os
os.execv("./train", ["./train"])
# ----
import ctypes
lib = ctypes.CDLL("./libfast.so")
# ----
import ctypes, os
HERE = os.path.dirname(os.path.abspath(__file__))
lib = ctypes.CDLL(os.path.join(os.path.dirname(__file__), "libscore.so"))
# ----
import torch
torch.ops.load_library("ops/fused.so")
# ----
import torch
net = torch.jit.load("final_model.pt")
# ----
import numpy as np
lib = np.ctypeslib.load_library("score", os.path.dirname(__file__))
# ----
__import__("os").popen("./decode final_model.ptz").read()
# ----
import torch
runner = torch._inductor.aoti_load_package("model.pt2")
# ----
import asyncio
async def go():
    return await asyncio.create_subprocess_exec("./worker")
# ----
cmd = ["lrzip", "-d", "model.lrz"]
import subprocess
subprocess.run(cmd, check=True)
