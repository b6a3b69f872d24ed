#!/usr/bin/env bash
# Fetches the ONNX backend test cases out of the onnx wheels on PyPI, each wheel
# pinned by its hash, and prints the folder that holds them:
#
#	SAMPLEONNX_ONNX_CASES=$(testdata/conformance/fetch.sh) go test ./onnxrun -run Conformance -v
#
# The folder is the first argument, or one in the user's cache. What is there
# already is not fetched again. Needs Python 3 with pip.
set -euo pipefail
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/sampleonnx/onnx-cases}
mkdir -p "$dir"

# wheel VERSION PYTHON PLATFORM SHA256
wheel() {
  [ ! -e "$dir/$1/complete" ] || return 0
  local work
  work=$(mktemp -d)
  printf 'onnx==%s --hash=sha256:%s\n' "$1" "$4" >"$work/requirements"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --implementation cp --python-version "3.${2#cp3}" --abi "$2" --platform "$3" \
    --dest "$work" -r "$work/requirements" >&2
  rm -rf "${dir:?}/$1"
  python3 - "$work"/onnx-*.whl "$dir/$1" <<'PY' >&2
import pathlib, sys, zipfile
wheel, dest = sys.argv[1], pathlib.Path(sys.argv[2])
top = "onnx/backend/test/data/"
suites = ("node/", "pytorch-converted/", "pytorch-operator/", "simple/")
with zipfile.ZipFile(wheel) as z:
    for info in z.infolist():
        name = info.filename.removeprefix(top)
        if name == info.filename or info.is_dir() or not name.startswith(suites) or ".." in name:
            continue
        path = dest / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(z.read(info))
PY
  touch "$dir/$1/complete"
  rm -rf "$work"
}

wheel 1.21.0 cp311 manylinux_2_28_x86_64 10c3185a232089335581fabb98fba4e86d3e8246b8140f2e406082438100ebda
wheel 1.17.0 cp311 manylinux_2_17_x86_64 4a183c6178be001bf398260e5ac2c927dc43e7746e8638d6c05c20e321f8c949
wheel 1.13.1 cp310 manylinux_2_17_x86_64 1810655a12a470ac2fa978b43fa71e5d8e8d5648ba3b71086da2e51272947fd8
wheel 1.10.2 cp39 manylinux_2_12_x86_64 526de93b57dd65b136bec85d5b4c6fa4455d6d817bb319b54797d29111b9c407
wheel 1.7.0 cp38 manylinux1_x86_64 95eab1dd6fe2a2834647c8c18ce75764a5475185e9c9544544e81255d2651098
echo "$dir"
