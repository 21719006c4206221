#!/usr/bin/env python3
"""Registers, stack frame, spills and Hopper's instructions of every kernel, by NVRTC; needs no GPU and no driver.

Usage: ci/gpu/registers.py [--lib FOLDER] [--arch sm_90a] [--json]

FOLDER holds libnvrtc.so.13, e.g. nvidia/cu13/lib in the site-packages of a Python where
`pip install 'nvidia-cuda-nvrtc==13.0.*'` was run; without it the library path is searched. The machine code is read by
nvdisasm, from FOLDER/../bin (`pip install nvidia-cuda-nvdisasm`) or the path; where there is none, the PTX text is.

Exit 1 where a kernel of the bfloat16 path keeps values in local memory (a stack frame, or spilled registers): such values
travel to DRAM and back; and for sm_90a where a kernel named after wgmma has none of its instructions, or the assembler says
that it makes them wait for one another.
"""
import argparse
import ctypes
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CUDA = ROOT / "src/engine/cuda"


def source() -> bytes:
    """The kernels in the order the engine has them."""
    names = re.findall(r'include_str!\("(kernels/[^"]+)"\)', (CUDA / "source.rs").read_text())
    return "".join(f'#line 1 "{name}"\n{(CUDA / name).read_text()}' for name in names).encode()


def compiled(library: ctypes.CDLL, text: bytes, architecture: str, image: str) -> tuple:
    """NVRTC's log, and the image that it makes for an architecture: "CUBIN" or "PTX"."""
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
    getattr(library, f"nvrtcGet{image}Size")(program, ctypes.byref(size))
    found = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{image}")(program, found)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return log.value.decode(), found.raw


# What a kernel that multiplies by warpgroups is made of, in machine code and in PTX: the product, the fence before it, the
# wait for it.
IN_MACHINE_CODE = {"products": r"\bHGMMA\.64x\d+x16\.F32\.BF16", "fences": r"\bWARPGROUP\.ARRIVE",
                   "waits": r"\bWARPGROUP\.DEPBAR"}
IN_PTX = {"products": r"wgmma\.mma_async\.sync\.aligned\.m64n\d+k16\.f32\.bf16\.bf16", "fences": r"wgmma\.fence",
          "waits": r"wgmma\.wait_group"}


def disassembler(folder: pathlib.Path):
    beside = folder.parent / "bin/nvdisasm"
    return str(beside) if folder != pathlib.Path() and beside.exists() else shutil.which("nvdisasm")


def bodies(text: str) -> dict:
    """The instructions of each kernel, of machine code (`.text.NAME:`) or PTX (`.entry NAME(`)."""
    parts = re.split(r"^\s*(?:\.text\.(\w+):|(?:\.visible )?\.entry (\w+)\()", text, flags=re.MULTILINE)
    return {machine or ptx: body for machine, ptx, body in zip(parts[1::3], parts[2::3], parts[3::3])}


def warpgroup_instructions(library: ctypes.CDLL, text: bytes, cubin: bytes, folder: pathlib.Path) -> tuple:
    """How many products, fences and waits each kernel named after wgmma has; and where that was read."""
    if program := disassembler(folder):
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(cubin)
            file.flush()
            listing = subprocess.run([program, file.name], stdout=subprocess.PIPE, text=True, check=True).stdout
        patterns, read = IN_MACHINE_CODE, "machine code"
    else:
        listing = compiled(library, text, "compute_90a", "PTX")[1].decode(errors="replace")
        patterns, read = IN_PTX, "PTX, as there is no nvdisasm"
    found = {}
    for name, body in bodies(listing).items():
        if "wgmma" in name:
            found[name] = {what: len(re.findall(pattern, body)) for what, pattern in patterns.items()}
    return found, read


def serialized(log: str) -> list:
    """What the assembler says of products that wait for one another (its message C7510 and those beside it)."""
    return [line for line in log.splitlines() if re.search(r"\(C75\d\d\)|wgmma.*serializ", line)]


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
    text = source()
    log, cubin = compiled(library, text, args.arch, "CUBIN")
    found = kernels(log)
    if not found:
        sys.exit("the assembler's log names no kernel")
    by_warpgroups, read = {}, ""
    if args.arch == "sm_90a":
        by_warpgroups, read = warpgroup_instructions(library, text, cubin, args.lib)
        for name in found:
            if "wgmma" in name:
                found[name]["warpgroup"] = by_warpgroups.get(name, {})
    if args.json:
        print(json.dumps({"arch": args.arch, "kernels": found}, indent=1, sort_keys=True))
    else:
        for name, use in sorted(found.items()):
            print(f"{name:40} {use.get('registers', 0):4} registers {use.get('shared', 0):7} B shared "
                  f"{use.get('stack', 0):5} B stack {use.get('stores', 0) + use.get('loads', 0):5} B spilled")
    local = sorted(name for name, use in found.items() if any(use.get(key) for key in ("stack", "stores", "loads")))
    print(f"{len(found)} kernels for {args.arch}; values in local memory: {', '.join(local) or 'none'}", file=sys.stderr)
    # A kernel with a twin of that name is the one for single precision.
    failed = any(f"{name}_bf16" not in found for name in local)
    for name, counts in sorted(by_warpgroups.items()):
        print(f"{name}: {', '.join(f'{count} {what}' for what, count in counts.items())} of warpgroups ({read})",
              file=sys.stderr)
    without = [name for name in found if "warpgroup" in found[name] and not all(found[name]["warpgroup"].values())]
    without += [name for name in found if found[name].get("warpgroup") == {}]
    if args.arch == "sm_90a" and not by_warpgroups:
        without.append("all that are named after them")
    if without:
        print(f"no instructions of warpgroups: {', '.join(sorted(set(without)))}", file=sys.stderr)
    for line in serialized(log):
        print(line, file=sys.stderr)
    sys.exit(1 if failed or without or serialized(log) else 0)


if __name__ == "__main__":
    main()
