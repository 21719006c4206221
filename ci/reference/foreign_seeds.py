#!/usr/bin/env python3
"""Writes fixtures/fuzz/foreign: a small file of every kind that is opened. Python's own library only."""
import bz2, gzip, io, lzma, pickle, struct, sys, tarfile, zipfile, zlib
from pathlib import Path

out = Path(sys.argv[1] if len(sys.argv) > 1 else "fixtures/fuzz/foreign")
out.mkdir(parents=True, exist_ok=True)

STATE = (b"}Vw\nctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nVk\nVcpu\nI2\nNtQI0\n(I2\nt(I1\nt"
         b"I00\nccollections\nOrderedDict\n)RtRs.")
EVIL = b"cposix\nsystem\n(Vtrue\ntR."
legacy = b"".join([pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2),
                   STATE, b"](Vk\ne.", struct.pack("<qff", 2, 1.5, -2.0)])
dtype = b"cnumpy\ndtype\n(Vf4\nI00\nI01\ntR(I3\nV<\nNNNI-1\nI-1\nI0\ntb"
arrays = (b"\x80\x05}Vw\ncnumpy._core.numeric\n_frombuffer\n(C\x08\0\0\x80?\0\0\0@" + dtype + b"(I2\ntVC\ntRs.")


def npy(descr, order, shape, data):
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + data


def archive(members, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, options.get("compression"))
    return buffer.getvalue()


def tar(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()[:2048]


def zstd(content, head=b"\x28\xb5\x2f\xfd\x00\x58"):
    """One raw block behind a frame header."""
    return head + struct.pack("<I", len(content) << 3 | 1)[:3] + content


def lz4(content):
    """Blocks of 64 KiB, independent, no checksums; one block that is not compressed."""
    return b"\x04\x22\x4d\x18\x60\x40\x82" + struct.pack("<I", len(content) | 1 << 31) + content + bytes(4)


raw = lambda kind: lzma.compress(arrays, format=lzma.FORMAT_RAW, filters=[{"id": kind}])
torch = {"a/data.pkl": STATE, "a/byteorder": b"little", "a/data/k": struct.pack("<ff", 1.5, -2.0)}
seeds = {
    "legacy.pt": legacy, "arrays.pkl": arrays, "system.txt": EVIL, "plain.npy": npy("'<f4'", False, "(2,)", bytes(8)),
    "columns.npy": npy("'>i2'", True, "(2, 2)", bytes(8)), "objects.npy": npy("'|O'", False, "()", pickle.dumps([1], 4)),
    "text.npz": archive({"a.npy": npy("'<U3'", False, "()", bytes(12)), "b.npy": npy("'<f4'", False, "(1,)", bytes(4))}),
    "torch.pt": archive(torch), "bzip2.pt": archive(torch, compression=zipfile.ZIP_BZIP2), "one.zip": archive({"m.pkl": arrays}),
    "evil.pt": archive({**torch, "a/config.p": EVIL}), "model.tar": tar({"m.pkl": arrays}), "mlx.zlib": zlib.compress(arrays),
    "behind.zlib": zlib.compress(arrays) + bytes(30), "model.bz2": bz2.compress(arrays), "model.gz": gzip.compress(arrays, mtime=0),
    "model.xz": lzma.compress(arrays), "model.lzma": lzma.compress(arrays, format=lzma.FORMAT_ALONE),
    "model.lzma2": raw(lzma.FILTER_LZMA2), "model.lzma1": raw(lzma.FILTER_LZMA1), "model.zst": zstd(arrays),
    "window.zst": zstd(arrays, b"\x28\xb5\x2f\xfd\x00\xa8"), "skippable.zst": b"\x50\x2a\x4d\x18\x02\0\0\0ab" + zstd(arrays),
    "model.lz4": lz4(arrays), "six.zlib": zlib.compress(zlib.compress(bz2.compress(lz4(zstd(gzip.compress(arrays, mtime=0)))))),
    "log.txt": b"step:1 val_bpb:1.2\n", "model.lrz": b"LRZI\0\x06",
}
for name, content in seeds.items():
    (out / name).write_bytes(content)
print(f"{len(seeds)} seeds, {sum(map(len, seeds.values()))} bytes")
