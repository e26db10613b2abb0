#!/usr/bin/env bash
# Builds the wheel for AArch64 Linux by Debian's cross compiler, with Debian's headers of its Python 3.11,
# and runs it under QEMU: a classifier trained, and a part of the tests.
#   pip install --group build; tools/aarch64_wheel.sh FOLDER
# FOLDER/build has the objects and the test driver.
set -euo pipefail
folder=$(realpath "$1")
emulator="qemu-aarch64-static;-L;/usr/aarch64-linux-gnu"
mkdir -p "$folder/debs" "$folder/root"

dpkg --print-foreign-architectures | grep -qx arm64 || dpkg --add-architecture arm64
apt-get update -qq
packages=(python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libpython3.11-dev libc6 libgcc-s1
  libstdc++6 zlib1g libexpat1 libssl3 libffi8 libbz2-1.0 liblzma5 libuuid1 libcrypt1)
(cd "$folder/debs" && apt-get download -qq "${packages[@]/%/:arm64}" 2> /dev/null)
for package in "$folder"/debs/*.deb; do
  dpkg -x "$package" "$folder/root"
done

# Without isolation: pip would take that platform's build tools.
_PYTHON_HOST_PLATFORM=linux-aarch64 pip wheel -q --no-deps --no-build-isolation . -w "$folder" -C build-dir="$folder/build" \
  -C cmake.define.CMAKE_SYSTEM_NAME=Linux -C cmake.define.CMAKE_SYSTEM_PROCESSOR=aarch64 \
  -C cmake.define.CMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
  -C cmake.define.CMAKE_CROSSCOMPILING_EMULATOR="$emulator" \
  -C cmake.define.CMAKE_CXX_FLAGS="-isystem $folder/root/usr/include" \
  -C cmake.define.Python_INCLUDE_DIR="$folder/root/usr/include/python3.11" \
  -C cmake.define.PYTHON_MODULE_EXTENSION=.cpython-311-aarch64-linux-gnu.so \
  -C cmake.define.SOFTSTEP_WERROR=ON -C cmake.define.SOFTSTEP_DRIVER=ON
pip install -q --target "$folder/site" --platform linux_aarch64 --platform manylinux2014_aarch64 \
  --platform manylinux_2_28_aarch64 --only-binary :all: --python-version 3.11 \
  "$folder"/softstep-*_aarch64.whl pytest pytest-timeout hypothesis mpmath ml_dtypes

python_aarch64() { PYTHONPATH="$folder/site" qemu-aarch64-static -L "$folder/root" "$folder/root/usr/bin/python3.11" "$@"; }
python_aarch64 -m softstep info
python_aarch64 - > "$folder/table.csv" << 'END'
import numpy as np
rng = np.random.default_rng(0)
x = rng.normal(size=(300, 4))
print("a,b,c,d,label")
for row, label in zip(x, (x[:, :2] @ [[2, -1, 0], [0, 2, -1]]).argmax(1)):
    print(*row, "xyz"[label], sep=",")
END
python_aarch64 -m softstep train --data "$folder/table.csv" --output "$folder/run" --quiet | tee "$folder/run.txt"
grep -q '^test accuracy: 0\.9' "$folder/run.txt"
python_aarch64 -m pytest -q -p no:cacheprovider tests/losses/test_exp.py tests/optim/test_concurrent_steps.py
