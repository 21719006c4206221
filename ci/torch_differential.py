#!/usr/bin/env python3
"""Compares what torch.load would import with what this project says, over seeded mutants of zips and pickles.

    cargo build --no-default-features --example model_imports
    python3 ci/torch_differential.py target/debug/examples/model_imports [--mutants 6000] [--seed 0] [--keep FOLDER]

torch.load runs with a `find_class` that records a name and imports nothing, so no mutant runs anything. For each:
opened here   => every name that torch looked up is among ours;
torch looked up a name outside of the modules that tensors need => refused here, and not merely unknown.
Exits with 0 without PyTorch, which it says."""
import argparse, io, json, os, pickle, random, struct, subprocess, sys, tempfile, warnings, zipfile
from collections import OrderedDict

try:
    import numpy, torch
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(0)

NEEDED = ("torch", "collections", "numpy", "_codecs", "builtins", "__builtin__")
EVIL = [("posix", "system"), ("os", "popen"), ("evil", "run"), ("builtins.x", "y"), ("torch_evil", "Storage")]


class Recorder:
    """Stands for whatever was looked up, and takes anything that is done to it."""
    def __init__(self, *arguments, **named): pass
    def __call__(self, *arguments, **named): return Recorder()
    def __setstate__(self, state): pass
    def __setitem__(self, key, value): pass
    def append(self, value): pass
    def extend(self, values): pass
    def add(self, value): pass
    def __hash__(self): return 7


class recording:
    """Stands for the module `pickle`."""
    names = []

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            recording.names.append(f"{module}.{name}")
            return Recorder

        def persistent_load(self, key): return Recorder()

    @staticmethod
    def load(file, **options): return recording.Unpickler(file, **options).load()


def looked_up(content):
    recording.names = []
    try:
        torch.load(io.BytesIO(content), map_location="cpu", pickle_module=recording, weights_only=False)
        loaded = True
    except Exception:
        loaded = False
    return set(recording.names), loaded


def saved(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def bare(parts): return b"".join(parts)


def imports(rng, module, name):
    """One of the ways to look a name up and call it."""
    text = lambda word: b"\x8c" + bytes([len(word)]) + word.encode()
    m, n = module.encode(), name.encode()
    return rng.choice([
        bare([b"c", m, b"\n", n, b"\n)R0"]), bare([b"(i", m, b"\n", n, b"\n0"]), bare([b"(c", m, b"\n", n, b"\no0"]),
        bare([text(module), text(name), b"\x93)R0"]), bare([text(module), text(name), b"\x93)\x810"]),
        bare([text(module), b"\x94", text(name), b"\x9400", b"h\x00h\x01\x930"]), bare([b"S'", m, b"'\nS'", n, b"'\n\x930"]),
        bare([b"V", "".join(f"\\u{ord(c):04x}" for c in module).encode(), b"\nV", n, b"\n\x930"]),
        bare([b"U", bytes([len(m)]), m, b"T", struct.pack("<I", len(n)), n, b"\x930"]), bare([b"(", text(module), text(name), b"\x931"]),
        bare([text(module), b"2", text(name), b"\x9300"]), bare([b"X", struct.pack("<I", len(m)), m, text(name), b"\x93}b0"]),
    ])


def boundaries(program):
    import pickletools
    try:
        return [at for _, _, at in pickletools.genops(program)]
    except Exception:
        return []


def mutate_pickle(rng, program):
    program = bytearray(program)
    for _ in range(rng.randint(1, 3)):
        program = program or bytearray(b".")
        places = boundaries(bytes(program))
        at = rng.choice(places) if places and rng.random() < 0.7 else rng.randrange(len(program))
        kind = rng.randrange(7)
        if kind == 0: program[at] ^= 1 << rng.randrange(8)
        elif kind == 1: program[at:at] = imports(rng, *rng.choice(EVIL + [("collections", "OrderedDict")]))
        elif kind == 2: program[at] = rng.choice(b"(.012NKMJIFLXVSUT}]){adesultQqphgjrbRcio\x80\x81\x85\x86\x87\x93\x94\x95\x8c")
        elif kind == 3: del program[at:at + rng.randint(1, 8)]
        elif kind == 4: program[at:at] = program[at:at + rng.randint(1, 24)]
        elif kind == 5: program = program[:at] or bytearray(b".")
        else: program[at:at] = rng.choice([b"0", b"(", b"1", b"2", b"N0", b"\x95" + bytes(8), b"\x80\x04", b"."])
    return bytes(program)


def members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return [(info.filename, file.read(info)) for info in file.infolist()]


def archive(parts, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(buffer, "w") as file:
            for name, content in parts: file.writestr(zipfile.ZipInfo(name), content, compression)
    return buffer.getvalue()


def mutate_zip(rng, content, evil):
    parts = members(content)
    index = next(i for i, (name, _) in enumerate(parts) if name.endswith("/data.pkl"))
    root = parts[index][0][:-len("data.pkl")]
    kind = rng.randrange(10)
    if kind == 0: parts.insert(rng.randint(0, len(parts)), (parts[index][0], evil))
    elif kind == 1: parts.insert(rng.randint(0, len(parts)), (root + rng.choice(["DATA.PKL", "Data.pkl", "data.PKL"]), evil))
    elif kind == 2: parts.insert(rng.randint(0, len(parts)), (rng.choice(["a/", "sub/", root + "sub/", ""]) + "data.pkl", evil))
    elif kind == 3: parts.insert(rng.randint(0, len(parts)), (root + "config.p", evil))
    elif kind == 4: rng.shuffle(parts)
    elif kind == 5: parts[index] = (parts[index][0], mutate_pickle(rng, parts[index][1]))
    elif kind == 6: return archive(parts) + archive([(name, evil if name.endswith(".pkl") else c) for name, c in parts])
    made = bytearray(archive(parts, rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) if kind < 9 else content)
    if kind >= 7:
        marks = [i for i in range(len(made) - 4) if made[i:i + 2] == b"PK" and made[i + 2:i + 4] in (b"\1\2", b"\3\4", b"\5\6", b"\6\6", b"\6\7")]
        for _ in range(rng.randint(1, 2)):
            at = rng.choice(marks) + rng.randrange(64)
            if at < len(made): made[at] = rng.choice([made[at] ^ (1 << rng.randrange(8)), 0, 255, rng.randrange(256)])
    return bytes(made)


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("program")
    flags.add_argument("--mutants", type=int, default=6000)
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--keep")
    flags = flags.parse_args()
    rng = random.Random(flags.seed)
    torch.manual_seed(0)
    values = [OrderedDict(w=torch.randn(3, 4), b=torch.zeros(2, dtype=torch.bfloat16)), {"model": {"w": torch.ones(2)}, "step": 3},
              {"w": torch.arange(4, dtype=torch.int8), "bpb": numpy.float64(1.2), "none": None},
              [torch.ones(1, dtype=torch.float8_e4m3fn), torch.nn.Parameter(torch.ones(2))]]
    zips = [saved(value) for value in values]
    old = [saved(value, _use_new_zipfile_serialization=False) for value in values]
    programs = [next(c for name, c in members(z) if name.endswith("data.pkl")) for z in zips]
    folder = flags.keep or tempfile.mkdtemp()
    os.makedirs(folder, exist_ok=True)
    cases = []
    for i in range(flags.mutants):
        source = rng.randrange(len(values))
        evil = b"\x80\x02" + imports(rng, *rng.choice(EVIL)) + programs[source][2:]
        kind = rng.randrange(5)
        if kind < 2: content = mutate_zip(rng, zips[source], evil)
        elif kind == 2: content = archive([(n, mutate_pickle(rng, c) if n.endswith("data.pkl") else c) for n, c in members(zips[source])])
        elif kind == 3: content = mutate_pickle(rng, old[source])
        else: content = mutate_pickle(rng, pickle.dumps({"a": [1, "x"], "b": numpy.arange(3)}, protocol=rng.randrange(6)))
        path = os.path.join(folder, f"{i:05}")
        with open(path, "wb") as file: file.write(content)
        cases.append((path, *looked_up(content)))
    paths = "".join(path + "\n" for path, *_ in cases)
    answers = subprocess.run([flags.program], input=paths, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(answers) == len(cases)
    counts, bad = {}, 0
    for (path, names, loaded), answer in zip(cases, map(json.loads, answers)):
        (status, said), = answer.items()
        # What is no name of a module stands for none.
        strange = {name for name in names if all(part.isidentifier() for part in name.split("."))
                   and not name.startswith(tuple(f"{module}." for module in NEEDED))}
        missing = names - set(said) if status == "opened" else set()
        key = (status, "strange names" if strange else "loads" if loaded else "does not load")
        counts[key] = counts.get(key, 0) + 1
        if missing or (strange and status != "refused"):
            bad += 1
            print(f"{path}: torch looks up {sorted(missing or strange)[:3]}, here: {status} {said if status != 'opened' else ''}")
    for key, count in sorted(counts.items()): print(f"{count:6} {key[0]}, torch: {key[1]}")
    print(f"{bad} of {len(cases)} mutants differ (PyTorch {torch.__version__}, seed {flags.seed})")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
