#!/usr/bin/env python3
"""Registers, stack frame and spills of every kernel, as NVRTC's assembler counts them; needs no GPU and no driver.

Usage: ci/gpu/registers.py [--lib FOLDER] [--arch sm_90a] [--json]

FOLDER holds libnvrtc.so.13, e.g. nvidia/cu13/lib in the site-packages of a Python where
`pip install 'nvidia-cuda-nvrtc==13.0.*'` was run; without it the library path is searched. Exit 1 where a kernel of the
bfloat16 path keeps values in local memory (a stack frame, or spilled registers): such values travel to DRAM and back.
"""
import argparse
import ctypes
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CUDA = ROOT / "src/engine/cuda"


def source() -> bytes:
    """The kernels in the order the engine has them."""
    names = re.findall(r'include_str!\("(kernels/[^"]+)"\)', (CUDA / "source.rs").read_text())
    return "".join(f'#line 1 "{name}"\n{(CUDA / name).read_text()}' for name in names).encode()


def assembler_log(library: ctypes.CDLL, text: bytes, architecture: str) -> str:
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    if library.nvrtcCreateProgram(ctypes.byref(program), text, b"kernels.cu", 0, None, None) != 0:
        sys.exit("NVRTC makes no program")
    options = [f"--gpu-architecture={architecture}".encode(), b"--fmad=false", b"--std=c++17", b"--ptxas-options=-v"]
    status = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    if status != 0:
        sys.exit(f"NVRTC does not compile the kernels for {architecture}:\n{log.value.decode()}")
    return log.value.decode()


def kernels(log: str) -> dict:
    """What the log says of each kernel: `stack`, `stores`, `loads` in bytes, `registers`, `shared` bytes."""
    found, name = {}, None
    for line in log.splitlines():
        if match := re.search(r"(?:Compiling entry function|Function properties for) '?(\w+)'?", line):
            name = match[1]
            found.setdefault(name, {})
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            found[name].update(zip(("stack", "stores", "loads"), map(int, match.groups())))
        elif match := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            found[name].update(registers=int(match[1]), shared=int(shared[1]) if shared else 0)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lib", type=pathlib.Path, default=pathlib.Path())
    parser.add_argument("--arch", default="sm_90a")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    # NVRTC asks for its second library by name alone.
    for second in sorted(args.lib.glob("libnvrtc-builtins.so.*")):
        ctypes.CDLL(str(second), mode=ctypes.RTLD_GLOBAL)
    try:
        library = ctypes.CDLL(str(args.lib / "libnvrtc.so.13") if args.lib != pathlib.Path() else "libnvrtc.so.13")
    except OSError as error:
        print(f"NVRTC is not here: {error}", file=sys.stderr)
        sys.exit(2)
    found = kernels(assembler_log(library, source(), args.arch))
    if not found:
        sys.exit("the assembler's log names no kernel")
    if args.json:
        print(json.dumps({"arch": args.arch, "kernels": found}, indent=1, sort_keys=True))
    else:
        for name, use in sorted(found.items()):
            print(f"{name:40} {use.get('registers', 0):4} registers {use.get('shared', 0):7} B shared "
                  f"{use.get('stack', 0):5} B stack {use.get('stores', 0) + use.get('loads', 0):5} B spilled")
    local = sorted(name for name, use in found.items() if any(use.get(key) for key in ("stack", "stores", "loads")))
    print(f"{len(found)} kernels for {args.arch}; values in local memory: {', '.join(local) or 'none'}", file=sys.stderr)
    # A kernel with a twin of that name is the one for single precision.
    sys.exit(1 if any(f"{name}_bf16" not in found for name in local) else 0)


if __name__ == "__main__":
    main()
