KERNEL = """
def fused(x):
    return x * x
"""
namespace = {}
exec(compile(KERNEL, "<kernel>", "exec"), namespace)
# ----
template = "def f_{n}(x): return x + {n}"
for n in range(3):
    exec(template.format(n=n), globals())
# ----
import inspect, textwrap
source = textwrap.dedent(inspect.getsource(function)).replace("float32", "bfloat16")
exec(source, scope)
# ----
code = open(__file__).read()
log(code)
exec(compile(code, __file__, "exec"), {"__name__": "copy"})
# ----
import tempfile, importlib.util, os
path = os.path.join(tempfile.mkdtemp(), "kernels.py")
with open(path, "w") as f:
    f.write(KERNEL_SOURCE)
spec = importlib.util.spec_from_file_location("kernels", path)
# ----
import importlib
for name in ("zstandard", "zstd"):
    try:
        codec = importlib.import_module(name)
    except ImportError:
        pass
# ----
lzma = __import__("lzma")
blob = lzma.compress(weights)
# ----
model.eval()
state = pickle.load(open("final_model.pkl", "rb"))
model.load_state_dict(state)
# ----
import ast, os
betas = ast.literal_eval(os.environ.get("BETAS", "(0.9, 0.95)"))
lr = float(os.environ.get("LR", "0.02"))
# ----
import builtins
profile = getattr(builtins, "profile", lambda f: f)
# ----
import sys, os
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.append("flash-attention/hopper")
# ----
from torch.utils.cpp_extension import load_inline
ext = load_inline(name="fused", cpp_sources=CPP, cuda_sources=CUDA, functions=["fused"])
step = torch.compile(model, mode="max-autotune")
# ----
import subprocess, sys
subprocess.run([sys.executable, "-m", "torch.distributed.run", "train_gpt.py"])
# ----
fn = getattr(F, "scaled_dot" + "_product_attention")
act = getattr(torch.nn.functional, args.activation)
# ----
import base64, zlib, io
state = torch.load(io.BytesIO(zlib.decompress(open("final_model.ptz", "rb").read())), map_location="cpu")
table = np.frombuffer(base64.b85decode("0RR91"), dtype=np.uint8)
# ----
lines = []
exec("\n".join(f"v{i} = {i}" for i in range(4)))
# ----
optimizer = eval("torch.optim.AdamW")(params, lr=1e-3)
# ----
def load(path):
    text = open(path).read()
    return json.loads(text)
def build(name):
    text = f"def {name}(x): return x"
    exec(text, globals())
