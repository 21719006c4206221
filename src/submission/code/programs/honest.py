import subprocess
print(subprocess.run(["nvidia-smi"], capture_output=True, text=True).stdout)
# ----
import subprocess as sp
commit = sp.check_output("git rev-parse HEAD", shell=True).decode()
# ----
import subprocess, sys
subprocess.check_call([sys.executable, "-m", "pip", "install", "zstandard"])
# ----
import os
os.system("pip install -q sentencepiece")
# ----
import subprocess
query = ["nvidia-smi", "--query-gpu=name", "--format=csv"]
out = subprocess.check_output(query)
# ----
import subprocess
print(subprocess.run(f"nvidia-smi -i {rank}", shell=True))
# ----
import shlex, subprocess
subprocess.run(shlex.split("git status --short"))
# ----
import ctypes
cudart = ctypes.CDLL("libcudart.so")
cudart.cudaProfilerStart()
# ----
import ctypes, ctypes.util
libc = ctypes.CDLL(ctypes.util.find_library("c"))
# ----
import ctypes, os, torch
path = os.path.join(os.path.dirname(torch.__file__), "lib", "libcudart.so.12")
lib = ctypes.CDLL(path)
# ----
import ctypes
libc = ctypes.CDLL(None)
# ----
import os, sys
if "LD_PRELOAD" not in os.environ:
    os.execv(sys.executable, [sys.executable] + sys.argv)
# ----
import subprocess, sys
subprocess.run([sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=8", __file__])
# ----
import torch
model = torch.compile(model)
state = torch.load("final_model.pt", map_location="cpu")
# ----
from subprocess import run, PIPE
smi = run(["/usr/bin/nvidia-smi", "-L"], stdout=PIPE)
