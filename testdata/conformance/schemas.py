#!/usr/bin/env python3
"""Writes schemas.tsv: what the ONNX standard says of the operators of its main
domain, as far as it can be checked without knowing shapes, in every version that
changed it. Needs onnx==1.21.0.

    python3 testdata/conformance/schemas.py >testdata/conformance/schemas.tsv
"""
import onnx
from onnx import defs

KINDS = {"FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "GRAPH": "g", "FLOATS": "fs", "INTS": "is", "STRINGS": "ss"}


def count(lo, hi):
    return str(lo) if lo == hi else f"{lo}-{'*' if hi >= 1 << 30 else hi}"


history = {}
for s in defs.get_all_schemas_with_history():
    if not s.domain:
        history.setdefault(s.name, []).append(s)
print(f"# by schemas.py, onnx {onnx.__version__}: operator, since, inputs, outputs (-: no more), attributes as name:kind, ! when required")
for name, versions in sorted(history.items()):
    before = None
    versions.sort(key=lambda s: s.since_version)
    for s in versions:
        if s is versions[-1] and s.deprecated:
            facts = ("-", "-", "")
        else:
            attrs = sorted(f"{a.name}:{KINDS.get(a.type.name, '?')}{'!' if a.required else ''}" for a in s.attributes.values())
            facts = (count(s.min_input, s.max_input), count(s.min_output, s.max_output), " ".join(attrs))
        if facts != before:
            print(name, s.since_version, *facts, sep="\t")
        before = facts
