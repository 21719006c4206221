"""Self-extracting scripts, packed with CPython's own codecs, for the reader that opens them without running.

Usage: python ci/reference/packed_scripts.py [OUT_FOLDER]     (default: fixtures/reference/packed_scripts)
"""

import base64
import gzip
import lzma
import pathlib
import sys
import zlib

SCRIPT = "import os\n" + "".join(f"def step_{i}(x):\n    return x * {i} + {i * i % 97}\n" for i in range(60))


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "fixtures/reference/packed_scripts")
    folder.mkdir(parents=True, exist_ok=True)
    data = SCRIPT.encode()
    raw = [{"id": lzma.FILTER_LZMA2}]
    b85_raw = base64.b85encode(lzma.compress(data, format=lzma.FORMAT_RAW, filters=raw)).decode()
    b85_xz = base64.b85encode(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)).decode()
    b85_alone = base64.b85encode(lzma.compress(data, format=lzma.FORMAT_ALONE)).decode()
    b64_zlib = base64.b64encode(zlib.compress(data, 9)).decode()
    a85_gzip = base64.a85encode(gzip.compress(data, mtime=0)).decode()
    xz_script = f'import lzma,base64\nexec(lzma.decompress(base64.b85decode("{b85_xz}")))\n'
    twice = base64.b64encode(zlib.compress(xz_script.encode())).decode()
    files = {
        "script.txt": SCRIPT,
        "base85_raw_lzma2.py": "import lzma as L,base64 as B\n"
        f'exec(L.decompress(B.b85decode("{b85_raw}"),format=L.FORMAT_RAW,filters=[{{"id":L.FILTER_LZMA2}}]))\n',
        "base85_xz.py": xz_script,
        "base85_lzma_alone.py": f'import lzma,base64\nexec(lzma.decompress(base64.b85decode("{b85_alone}")))\n',
        "base64_zlib.py": f'import zlib,base64\nB = """\n{b64_zlib}\n"""\nexec(zlib.decompress(base64.b64decode(B)))\n',
        "ascii85_gzip.py": f"import gzip,base64\nexec(gzip.decompress(base64.a85decode({a85_gzip!r})))\n",
        "bytes_zlib.py": f"import zlib\nexec(zlib.decompress({zlib.compress(data, 9)!r}))\n",
        "twice.py": f'import zlib,base64\nexec(zlib.decompress(base64.b64decode("{twice}")))\n',
    }
    for name, text in files.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
