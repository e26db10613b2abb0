"""Print the path of a free-threaded Python 3.13: that on PATH, or one built from Debian's source.

    python tools/free_threaded_python.py FOLDER

It is built into FOLDER, once: 10 minutes on two cores. Needs a C compiler and make, as for Python.
"""

import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

MIRROR = "https://deb.debian.org/debian"
SOURCES = f"{MIRROR}/dists/trixie/main/source/Sources.xz"


def read(address: str) -> bytes:
    with urllib.request.urlopen(address) as answer:
        return bytes(answer.read())


def source() -> bytes:
    """Return the archive that Debian's index names, of the digest that it names."""
    entries = lzma.decompress(read(SOURCES)).decode().split("\n\n")
    entry = next(e for e in entries if e.startswith("Package: python3.13\n"))
    folder = re.findall(r"^Directory: (.*)", entry, re.MULTILINE)[0]
    digest, name = re.findall(r"^ (\w{64}) \d+ (\S*\.orig\.tar\.xz)$", entry, re.MULTILINE)[0]
    archive = read(f"{MIRROR}/{folder}/{name}")
    if hashlib.sha256(archive).hexdigest() != digest:
        sys.exit(f"{name}: another file than Debian's index names; try again")
    return archive


def build(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    packed = folder / "source.tar.xz"
    packed.write_bytes(source())
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    tree = next(folder.glob("Python-*"))
    configure = ["./configure", "--disable-gil", f"--prefix={folder}"]
    for command in (configure, ["make", f"-j{os.cpu_count()}"], ["make", "install"]):
        subprocess.run(command, cwd=tree, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    packed.unlink()


def main() -> None:
    name = "python3.13t"
    there = shutil.which(name)
    if not there:
        folder = Path(sys.argv[1]).resolve()
        there = str(folder / "bin" / name)
        if not Path(there).exists():
            build(folder)
    print(there)


if __name__ == "__main__":
    main()
