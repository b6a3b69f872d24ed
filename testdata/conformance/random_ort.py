#!/usr/bin/env python3
"""Random models with the results that onnxruntime gives for them.

    python3 testdata/conformance/random_ort.py DIR --count 20000 --seed 1
    SAMPLEONNX_RANDOM_CASES=DIR go test -count=1 ./onnxrun -run RandomCases -v

Each case is one operator with random shapes, attributes and opset version, in a
folder as the ONNX backend tests have them: model.onnx, test_data_set_0/input_*.pb
and output_*.pb. DIR/cases.tsv describes every case in one line, DIR/refused.tsv
lists those that onnxruntime does not run, with its reason. The test compares; a
difference must be explained by a row of deviations.tsv.

Made with onnx 1.21.0, onnxruntime 1.32.0 and numpy 2.4.
"""
import argparse
import collections
import pathlib
import shutil

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

f32, f64, f16, i64, i32, i8, u8 = np.float32, np.float64, np.float16, np.int64, np.int32, np.int8, np.uint8

families = []


class Random:
    """Draws that read well."""

    def __init__(self, seed):
        self.g = np.random.default_rng(seed)

    def int(self, lo, hi):
        """In [lo, hi]."""
        return int(self.g.integers(lo, hi + 1))

    def ints(self, n, lo, hi):
        return [self.int(lo, hi) for _ in range(n)]

    def one(self, n):
        """True once in n times."""
        return self.int(1, n) == 1

    def pick(self, *choices):
        return choices[self.int(0, len(choices) - 1)]

    def perm(self, n):
        return [int(i) for i in self.g.permutation(n)]

    def normal(self, shape, dtype=f32):
        if np.issubdtype(dtype, np.floating):
            return self.g.standard_normal(shape).astype(dtype)
        if dtype == np.bool_:
            return self.g.integers(0, 2, shape).astype(np.bool_)
        lo, hi = (0, 40) if np.issubdtype(dtype, np.unsignedinteger) else (-20, 20)
        return self.g.integers(lo, hi + 1, shape).astype(dtype)

    def uniform(self, shape, lo, hi, dtype=f32):
        return self.g.uniform(lo, hi, shape).astype(dtype)

    def shape(self, least, most, hi=8):
        s = self.ints(self.int(least, most), 1, hi)
        if s and self.one(25):
            s[self.int(0, len(s) - 1)] = 0
        return s

    def image(self, n):
        return [self.int(1, 2), self.pick(1, 2, 3, 4, 8, 15, 16, 17, 33)] + self.ints(n, 1, [30, 12, 6][n - 1])

    def axis(self, rank):
        a = self.int(0, rank - 1)
        return a - rank if self.one(2) else a


class Case:
    """One node: const holds the inputs that are part of the model; None is an input left out."""

    def __init__(self, op, opset, inputs, attrs=None, outs=1, const=(), tags=""):
        self.op, self.opset, self.inputs, self.attrs = op, opset, inputs, attrs or {}
        self.outs, self.const, self.tags = outs, set(const), tags

    def __str__(self):
        words = [f"{self.op}-{self.opset}"]
        words += [f"{k}={str(v).replace(' ', '')}" for k, v in sorted(self.attrs.items())]
        for i, x in enumerate(self.inputs):
            if x is None:
                words.append("-")
                continue
            x = np.asarray(x)
            words.append(f"{x.dtype}{list(x.shape)}".replace(" ", "") + ("!" if i in self.const else ""))
            if i > 0 and x.size <= 10 and x.ndim <= 1:
                words[-1] += "=" + ",".join(f"{v:.4g}" for v in x.ravel().tolist())
        return " ".join(words + ([f"→{self.outs}"] if self.outs > 1 else []) + self.tags.split())

    def model(self):
        names = ["" if x is None else f"x{i}" for i, x in enumerate(self.inputs)]
        outs = [f"y{i}" for i in range(self.outs)]
        node = helper.make_node(self.op, names, outs, name=self.op, **self.attrs)
        given = [i for i, x in enumerate(self.inputs) if x is not None]
        graph = helper.make_graph(
            [node],
            "random",
            [helper.make_tensor_value_info(names[i], helper.np_dtype_to_tensor_dtype(np.asarray(self.inputs[i]).dtype), np.shape(self.inputs[i]))
             for i in given if i not in self.const],
            [onnx.ValueInfoProto(name=o) for o in outs],
            [numpy_helper.from_array(np.asarray(self.inputs[i]), names[i]) for i in given if i in self.const],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8 if self.opset < 21 else 10)


def family(f):
    families.append(f)
    return f


def floats(r):
    return r.pick(f32, f32, f32, f32, f64)


def window(r, inner, attrs, dilated=True, few=False):
    """Draws kernel, strides, dilations and padding; None when no window fits."""
    n = len(inner)
    kernel = r.ints(n, 1, r.pick(1, 3, 3, 4, 5))
    strides, dilations = [1] * n, [1] * n
    if r.one(2):
        strides = attrs["strides"] = r.ints(n, 1, 3)
    if dilated and r.one(3):
        dilations = attrs["dilations"] = r.ints(n, 1, 3)
    auto = r.pick("", "", "", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    pads = [0] * (2 * n)
    if auto:
        attrs["auto_pad"] = auto
    if auto in ("", "NOTSET") and not r.one(3):
        pads = attrs["pads"] = [r.int(0, max(0, k - 1) if few else k) for k in kernel + kernel]
    same = auto.startswith("SAME")
    for i in range(n):
        if not same and inner[i] + pads[i] + pads[n + i] < (kernel[i] - 1) * dilations[i] + 1:
            return None
    return kernel, strides, dilations, pads, auto


def grouped(r, channels):
    group = r.pick(1, 1, channels, *[g for g in (2, 3, 4) if channels % g == 0])
    return group, channels // group, r.int(1, 2) if group > 4 else r.pick(1, 2, 3, 8, 16, 17)


@family
def conv(r):
    n, attrs, dtype = r.int(1, 3), {}, floats(r)
    x = r.normal(r.image(n), dtype)
    w = window(r, x.shape[2:], attrs)
    if not w:
        return None
    attrs["group"], cin, cout = grouped(r, x.shape[1])
    ins = [x, r.normal([attrs["group"] * cout, cin] + w[0], dtype)]
    if r.one(2):
        ins.append(r.normal([ins[1].shape[0]], dtype))
    return Case("Conv", r.pick(1, 11, 17, 22), ins, attrs, const=r.pick((1, 2), ()))


@family
def conv_transpose(r):
    n, attrs, dtype = r.int(1, 3), {}, floats(r)
    x = r.normal(r.image(1)[:2] + r.ints(n, 1, 6), dtype)
    w = window(r, x.shape[2:], attrs)
    if not w:
        return None
    kernel, strides, dilations, pads, auto = w
    attrs["group"], cin, cout = grouped(r, x.shape[1])
    if r.one(3):
        attrs["output_padding"] = [r.int(0, s - 1) for s in strides]
    extra = attrs.get("output_padding", [0] * n)
    full = [s * (i - 1) + e + (k - 1) * d + 1 for s, i, e, k, d in zip(strides, x.shape[2:], extra, kernel, dilations)]
    if min(f - a - b for f, a, b in zip(full, pads[:n], pads[n:])) < 1:
        return None
    if auto.startswith("SAME") and min(f - s * i for f, s, i in zip(full, strides, x.shape[2:])) < 0:
        return None  # a negative padding, which the standard does not speak of
    if r.one(5) and not auto.startswith("SAME"):
        attrs.pop("pads", None)
        attrs["output_shape"] = [max(1, f - r.int(0, k)) for f, k in zip(full, kernel)]
    ins = [x, r.normal([attrs["group"] * cin, cout] + kernel, dtype)]
    if r.one(2):
        ins.append(r.normal([attrs["group"] * cout], dtype))
    return Case("ConvTranspose", r.pick(1, 11, 17, 22), ins, attrs, const=r.pick((1, 2), ()))


@family
def pool(r):
    op = r.pick("MaxPool", "MaxPool", "AveragePool", "AveragePool", "LpPool")
    opset = r.pick(*{"MaxPool": (1, 8, 10, 11, 12, 22), "AveragePool": (1, 7, 10, 11, 19, 22), "LpPool": (2, 11, 18, 22)}[op])
    n, attrs = r.int(1, 3), {}
    x = r.normal(r.image(n), r.pick(f32, f32, f32, f64) if op == "MaxPool" and opset >= 8 else f32)
    if op == "MaxPool" and opset >= 12 and r.one(8):
        x = r.normal(x.shape, r.pick(i8, u8))
    w = window(r, x.shape[2:], attrs, dilated=opset >= {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[op], few=True)
    if not w:
        return None
    attrs["kernel_shape"] = w[0]
    if opset >= {"MaxPool": 10, "AveragePool": 10, "LpPool": 18}[op] and r.one(2):
        attrs["ceil_mode"] = 1
    if op == "AveragePool" and opset >= 7 and r.one(2):
        attrs["count_include_pad"] = 1
    if op == "LpPool":
        attrs["p"] = r.int(1, 3)
    outs = 1
    if op == "MaxPool" and opset >= 8 and r.one(3):
        outs = 2
        if r.one(3):
            attrs["storage_order"] = 1
    tags = []
    if w[4].startswith("SAME"):
        over = [(-(-i // s) - 1) * s + (k - 1) * d + 1 - i for i, s, k, d in zip(x.shape[2:], w[1], w[0], w[2])]
        tags = ["same_dilated"] * (max(w[2]) > 1) + ["same_negative"] * (min(over) < -1)
    return Case(op, opset, [x], attrs, outs, tags=" ".join(tags))


@family
def global_pool(r):
    op = r.pick("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
    return Case(op, r.pick(2, 17, 22), [r.normal(r.image(r.int(1, 3)))], {"p": r.int(1, 3)} if op == "GlobalLpPool" else {})


@family
def batch_norm(r):
    x = r.normal(r.image(r.int(1, 3)), floats(r))
    c = x.shape[1]
    ins = [x] + [r.normal([c], x.dtype) for _ in range(3)] + [r.uniform([c], 0.1, 2, x.dtype)]
    return Case("BatchNormalization", r.pick(7, 9, 14, 15), ins, {"epsilon": r.pick(1e-5, 0.01)}, const=r.pick((), (1, 2, 3, 4)))


@family
def group_norm(r):
    x = r.normal(r.image(r.int(1, 3)))
    c = x.shape[1]
    if r.one(2):
        return Case("InstanceNormalization", r.pick(6, 22), [x, r.normal([c]), r.normal([c])], {"epsilon": r.pick(1e-3, 0.1)})
    g = r.pick(*[g for g in range(1, 9) if c % g == 0])
    return Case("GroupNormalization", 21, [x, r.normal([c]), r.normal([c])], {"epsilon": r.pick(1e-3, 0.1), "num_groups": g})


@family
def layer_norm(r):
    shape = r.ints(r.int(1, 4), 1, 9)
    axis = r.int(0, len(shape) - 1)
    attrs = {"axis": axis - r.pick(0, len(shape)), "epsilon": r.pick(1e-3, 0.1)}
    x = r.normal(shape)
    if r.one(2):
        return Case("RMSNormalization", 23, [x, r.normal(shape[axis:])], attrs)
    ins = [x, r.normal(shape[axis:])] + ([r.normal(shape[axis:])] if r.one(2) else [])
    return Case("LayerNormalization", 17, ins, attrs, outs=r.pick(1, 3))


@family
def other_norm(r):
    x = r.normal(r.image(2))
    kind = r.int(0, 2)
    if kind == 0:
        return Case("LRN", r.pick(1, 13), [x], {"size": 2 * r.int(0, 3) + 1, "alpha": r.pick(1e-4, 0.5), "beta": r.pick(0.5, 0.75), "bias": r.pick(1.0, 2.0)})
    if kind == 1:
        return Case("LpNormalization", r.pick(1, 22), [x], {"axis": r.axis(4), "p": r.int(1, 2)})
    x = r.normal(r.ints(4, 2, 6))
    return Case("MeanVarianceNormalization", r.pick(9, 13), [x], {"axes": r.pick([0, 2, 3], [2, 3], [0, 1, 2, 3])})


def near(x):
    """Whether rounding could take a number to the other side of a half or a whole."""
    return bool(np.any((np.abs(2 * x - np.round(2 * x)) < 1e-3) & (2 * x != np.round(2 * x))))


@family
def resize(r):
    opset = r.pick(10, 11, 13, 18, 19)
    mode = r.pick("nearest", "linear", "cubic") if opset > 10 else r.pick("nearest", "linear")
    rank = r.int(3, 4) if r.one(4) else 4
    shape = [1, r.int(1, 9)] + r.ints(rank - 2, 1, 12)
    attrs, tags = {"mode": mode}, []
    coord = "asymmetric"
    if opset > 10:
        coord = r.pick("half_pixel", "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
        if opset == 19 and r.one(4):
            coord = "half_pixel_symmetric"
        attrs["coordinate_transformation_mode"] = coord
        if mode == "nearest":
            attrs["nearest_mode"] = r.pick("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        if mode == "cubic":
            attrs["cubic_coeff_a"] = r.pick(-0.5, -0.75)
        if mode == "cubic" and r.one(3):
            attrs["exclude_outside"] = 1
        if mode != "nearest" and opset >= 18 and r.one(3):
            attrs["antialias"] = 1
    scales = [1.0, 1.0] + [r.pick(0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, float(f32(r.g.uniform(0.3, 3.3)))) for _ in shape[2:]]
    sizes = [int(np.floor(s * d)) for s, d in zip(scales, shape)]
    if min(sizes) < 1:
        return None
    if any(near(np.array([s * d])) for s, d in zip(scales, shape)):
        return None
    by_size = opset > 10 and r.one(2)
    if by_size:
        scales = [o / i for o, i in zip(sizes, shape)]
    elif any(s * d != np.floor(s * d) for s, d in zip(scales, shape)):
        tags.append("fractional")
        if sizes == shape:
            tags.append("same_shape")
        if any(o == i and s != 1 for s, o, i in zip(scales, sizes, shape)):
            tags.append("same_length")
    for s, o, i in zip(scales, sizes, shape):
        at = np.arange(o)
        at = at / s if coord == "asymmetric" else at * (i - 1) / max(o - 1, 1) if coord == "align_corners" else (at + 0.5) / s - 0.5
        if mode == "nearest" and (near(at) or coord == "half_pixel_symmetric" and s * i != o):
            return None
    x = r.normal(shape)
    if opset == 10:
        return Case("Resize", 10, [x, np.array(scales, f32)], attrs, const=(1,), tags=" ".join(tags))
    ins = [x, None if opset > 11 else np.array([], f32), None if by_size and opset > 11 else np.array([] if by_size else scales, f32)]
    if by_size:
        ins.append(np.array(sizes, i64))
    return Case("Resize", opset, ins, attrs, const=(1, 2, 3), tags=" ".join(tags))


@family
def pad(r):
    opset, shape = r.pick(2, 11, 13, 18, 19, 21), r.ints(r.int(1, 4), 1, 7)
    mode = r.pick("constant", "constant", "reflect", "edge", *(["wrap"] if opset >= 19 else []))
    low = r.pick(0, 0, -2)
    begin, end = r.ints(len(shape), low, 4), r.ints(len(shape), low, 4)
    tags = "cropped" if min(begin + end) < 0 else ""
    for i, d in enumerate(shape):
        left = d + min(0, begin[i]) + min(0, end[i])
        if left < 1:
            return None
        if mode == "reflect":
            begin[i], end[i] = min(begin[i], left - 1), min(end[i], left - 1)
        if mode == "wrap":
            begin[i], end[i] = min(begin[i], left), min(end[i], left)
    dtype = r.pick(f32, f32, f64, i64) if opset > 2 else f32
    x = r.normal(shape, dtype)
    if opset == 2:
        return Case("Pad", 2, [x], {"mode": mode, "pads": begin + end, "value": r.pick(0.0, 1.5)}, tags=tags)
    ins = [x, np.array(begin + end, i64)] + ([np.array(3, dtype)] if mode == "constant" and r.one(2) else [])
    return Case("Pad", opset, ins, {"mode": mode}, const=(1, 2), tags=tags)


@family
def slice_(r):
    x = r.normal(r.shape(1, 4), r.pick(f32, f32, i64, i32))
    axes = r.perm(x.ndim)[: r.int(1, x.ndim)]
    starts, ends = r.ints(len(axes), -10, 10), [r.pick(r.int(-10, 10), 2**31 - 1) for _ in axes]
    opset = r.pick(1, 10, 11, 13)
    if opset == 1:
        return Case("Slice", 1, [x], {"starts": starts, "ends": ends, "axes": axes})
    steps = [r.pick(1, 1, 2, 3, -1, -2) for _ in axes]
    tags = "backward_to_max" if any(s < 0 and e == 2**31 - 1 for s, e in zip(steps, ends)) else ""
    return Case("Slice", opset, [x] + [np.array(v, i64) for v in (starts, ends, axes, steps)], const=(1, 2, 3, 4), tags=tags)


@family
def concat_split(r):
    shape, dtype = r.shape(1, 4), r.pick(f32, f32, i64)
    axis = r.axis(len(shape))
    parts = r.ints(r.int(1, 4), 0 if r.one(5) else 1, 5)
    if r.one(2):
        ins = []
        for p in parts:
            s = list(shape)
            s[axis] = p
            ins.append(r.normal(s, dtype))
        return Case("Concat", r.pick(11, 13), ins, {"axis": axis})
    shape[axis] = sum(parts)
    opset = r.pick(11, 13, 18)
    if opset == 18 and r.one(2):
        shape[axis] = r.int(len(parts) * len(parts), 30)
        return Case("Split", 18, [r.normal(shape, dtype)], {"axis": axis, "num_outputs": len(parts)}, outs=len(parts))
    if opset == 11:
        return Case("Split", 11, [r.normal(shape, dtype)], {"axis": axis, "split": parts}, outs=len(parts))
    return Case("Split", opset, [r.normal(shape, dtype), np.array(parts, i64)], {"axis": axis}, outs=len(parts), const=(1,))


@family
def move(r):
    kind = r.int(0, 9)
    shape, dtype = r.shape(1, 4), r.pick(f32, f32, f64, i32, i64, u8)
    x, rank = r.normal(shape, dtype), len(shape)
    if kind == 0:
        return Case("Transpose", r.pick(1, 13), [x], {"perm": r.perm(rank)})
    if kind == 1:
        to = [d if d != 1 else r.int(1, 4) for d in shape]
        return Case("Expand", r.pick(8, 13), [x, np.array(r.pick([], [2]) + to, i64)], const=(1,))
    if kind == 2:
        return Case("Tile", r.pick(6, 13), [x, np.array(r.ints(rank, 0, 3), i64)], const=(1,))
    if kind == 3:
        b, c = r.int(1, 3), r.int(1, 5)
        if r.one(2):
            opset = r.pick(11, 13)
            return Case("DepthToSpace", opset, [r.normal([1, c * b * b, 3, 2])], {"blocksize": b, "mode": r.pick("DCR", "CRD")})
        return Case("SpaceToDepth", r.pick(1, 13), [r.normal([2, c, 2 * b, 3 * b])], {"blocksize": b})
    if kind == 4:
        return Case("Flatten", r.pick(11, 13), [x], {"axis": r.int(-rank, rank)})
    if kind == 5:
        axes = sorted(r.perm(rank + 2)[:2])
        return Case("Unsqueeze", 13, [x, np.array(axes, i64)], const=(1,))
    if kind == 6:
        return Case("Trilu", 14, [r.normal([2] + r.ints(2, 1, 6)), np.array(r.int(-4, 4), i64)], {"upper": r.int(0, 1)}, const=(1,))
    if kind == 7:
        x = r.normal([r.int(1, 6), r.int(1, 5), 2])
        lengths = np.array([r.int(1, x.shape[0]) for _ in range(x.shape[1])], i64)
        return Case("ReverseSequence", 10, [x, lengths], {"time_axis": 0, "batch_axis": 1}, const=(1,))
    if kind == 8:
        return Case("EyeLike", r.pick(9, 22), [r.normal(r.ints(2, 1, 6))], {"k": r.int(-3, 3)})
    return Case("Shape", 15, [x], {"start": r.int(-rank, rank), "end": r.int(-rank, rank)})


@family
def gather(r):
    shape, dtype = r.ints(r.int(1, 4), 1, 6), r.pick(f32, f32, i64)
    x = r.normal(shape, dtype)
    axis = r.axis(len(shape))
    n = shape[axis]
    kind = r.int(0, 5)
    index = r.pick(i64, i32)
    if kind == 0:
        return Case("Gather", r.pick(1, 11, 13), [x, r.g.integers(0, n, r.shape(0, 3, 4)).astype(index)], {"axis": axis if r.one(2) else axis % len(shape)})
    of = [r.int(1, d) for d in shape]
    of[axis] = r.int(1, 7)
    if kind == 1:
        return Case("GatherElements", r.pick(11, 13), [x, r.g.integers(-n, n, of).astype(index)], {"axis": axis})
    if kind == 2:
        k = r.int(1, len(shape))
        idx = np.stack([r.g.integers(-shape[i], shape[i], [r.int(1, 4), 2]) for i in range(k)][:1] * 1, -1) if k == 1 else None
        lead = r.ints(r.int(0, 2), 1, 3)
        idx = np.stack([r.g.integers(-shape[i], shape[i], lead) for i in range(k)], -1).astype(i64)
        return Case("GatherND", r.pick(11, 13), [x, idx])
    if kind == 3:
        of[axis] = r.int(1, n)
        idx = np.argsort(r.g.random(shape), axis=axis)[tuple(slice(0, d) for d in of)].astype(index)
        opset = r.pick(11, 13, 16, 18)
        attrs = {"axis": axis}
        if opset >= 16 and r.one(2):
            attrs["reduction"] = r.pick("add", "mul", *(["min", "max"] if opset >= 18 else []))
            idx = r.g.integers(-n, n, of).astype(index)
        return Case("ScatterElements", opset, [x, idx, r.normal(of, dtype)], attrs)
    if kind == 4:
        k = r.int(1, len(shape))
        rows = r.g.permutation(int(np.prod(shape[:k])))[: r.int(1, 4)]
        idx = np.stack(np.unravel_index(rows, shape[:k]), -1).astype(i64)
        opset = r.pick(11, 13, 16, 18)
        attrs = {"reduction": r.pick("add", "mul")} if opset >= 16 and r.one(2) else {}
        return Case("ScatterND", opset, [x, idx, r.normal([len(rows)] + shape[k:], dtype)], attrs)
    depth = r.int(1, 6)
    return Case("OneHot", r.pick(9, 11), [r.g.integers(-depth, depth, r.shape(1, 3, 4)).astype(i64), np.array([depth], i64), np.array([-1, 2], f32)],
                {"axis": r.pick(-1, 0)}, const=(1,))


@family
def einsum(r):
    size = {c: r.int(1, 5) for c in "abcde"}
    terms = ["".join("abcde"[i] for i in r.perm(5)[: r.int(1, 3)]) for _ in range(r.int(1, 3))]
    used = sorted(set("".join(terms)))
    eq = ",".join(terms)
    if not r.one(4):
        eq += "->" + "".join(used[i] for i in r.perm(len(used))[: r.int(0, len(used))])
    return Case("Einsum", 12, [r.normal([size[c] for c in t]) for t in terms], {"equation": eq})


@family
def matmul(r):
    m, k, n = r.pick(1, 2, 5, 16, 33), r.pick(1, 3, 8, 17, 40), r.pick(1, 2, 5, 16, 31)
    batch = r.ints(r.int(0, 3), 1, 3)
    a = [1 if r.one(4) else d for d in batch] + [m, k]
    b = [1 if r.one(4) else d for d in batch] + [k, n]
    b = b[r.int(0, len(batch)) :]
    if r.one(10):
        a = [k]
    elif r.one(10):
        b = [k]
    dtype = floats(r)
    return Case("MatMul", r.pick(9, 13), [r.normal(a, dtype), r.normal(b, dtype)], const=r.pick((), (1,)))


@family
def gemm(r):
    m, k, n, attrs = r.pick(1, 2, 5, 16, 33), r.pick(1, 3, 8, 17, 40), r.pick(1, 2, 5, 16, 31), {}
    attrs["transA"], attrs["transB"] = r.int(0, 1), r.int(0, 1)
    attrs["alpha"], attrs["beta"] = r.pick(1.0, 0.5), r.pick(1.0, 2.0, 0.0)
    dtype = floats(r)
    ins = [r.normal([k, m] if attrs["transA"] else [m, k], dtype), r.normal([n, k] if attrs["transB"] else [k, n], dtype)]
    opset = r.pick(7, 9, 11, 13)
    if opset < 11 or r.one(2):
        ins.append(r.normal(r.pick([m, n], [n], [1, n], [m, 1], [1], []), dtype))
    return Case("Gemm", opset, ins, attrs, const=r.pick((), (1, 2)))


@family
def attention(r):
    b, kv, opset = r.int(1, 2), r.int(1, 3), r.pick(23, 24)
    h, q, k, d, dv = kv * r.int(1, 3), r.pick(1, 2, 5, 17), r.pick(1, 2, 5, 17), r.pick(2, 8, 15, 16), r.pick(3, 8, 16)
    attrs, past = {}, 0
    if r.one(2):
        attrs["q_num_heads"], attrs["kv_num_heads"] = h, kv
        ins = [r.normal([b, q, h * d]), r.normal([b, k, kv * d]), r.normal([b, k, kv * dv])]
    else:
        ins = [r.normal([b, h, q, d]), r.normal([b, kv, k, d]), r.normal([b, kv, k, dv])]
    outs = 1
    tail = []
    if r.one(3):
        past, outs = r.int(1, 5), 3
        tail = [r.normal([b, kv, past, d]), r.normal([b, kv, past, dv])]
    if r.one(4):
        attrs["scale"] = 0.25
    if r.one(4):
        attrs["softcap"] = 2.0
    mask = None
    if r.one(3):
        attrs["is_causal"] = 1
    elif r.one(2):
        mask = r.normal(r.pick([q, past + k], [b, 1, q, past + k], [b, h, q, past + k]), r.pick(f32, np.bool_))
        if mask.dtype == np.bool_:
            mask[..., 0] = True
    ins += [mask] + tail if tail else [mask] if mask is not None else []
    if r.one(4):
        outs = 4
    tags = ["added_mask_capped"] if mask is not None and mask.dtype == f32 and "softcap" in attrs else []
    if past and q == 1 and k > 1 and "is_causal" in attrs:
        tags.append("one_query_after_past")
    return Case("Attention", opset, ins, attrs, outs, tags=" ".join(tags))


@family
def reduce(r):
    op = r.pick("Sum", "Mean", "Prod", "Max", "Min", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")
    opset = r.pick(1, 11, 13, 18)
    x = r.normal(r.ints(r.int(1, 4), 1, 7), r.pick(f32, f32, f32, f64, i32) if op in ("Sum", "Max", "Min") else f32)
    if op == "LogSum":
        x = np.abs(x) + f32(0.1)
    axes = r.perm(x.ndim)[: r.int(1, x.ndim)]
    attrs = {"keepdims": r.int(0, 1)}
    if opset == 18 or op == "Sum" and opset == 13:
        return Case("Reduce" + op, opset, [x] + ([np.array(axes, i64)] if not r.one(4) else []), attrs, const=(1,))
    if not r.one(4):
        attrs["axes"] = axes
    return Case("Reduce" + op, opset, [x], attrs)


@family
def arg(r):
    x = np.round(2 * r.normal(r.ints(r.int(1, 4), 1, 8)))
    if r.one(2):
        attrs = {"axis": r.axis(x.ndim), "keepdims": r.int(0, 1)}
        if r.one(3):
            attrs["select_last_index"] = 1
        return Case(r.pick("ArgMax", "ArgMin"), r.pick(12, 13), [x], attrs)
    x = r.normal(x.shape)
    axis = r.axis(x.ndim)
    return Case("TopK", r.pick(10, 11), [x, np.array([r.int(1, x.shape[axis])], i64)], {"axis": axis}, outs=2, const=(1,))


@family
def softmax(r):
    x = r.normal(r.shape(1, 4), floats(r)) * 5
    return Case(r.pick("Softmax", "LogSoftmax", "Hardmax"), r.pick(1, 11, 13), [x], {"axis": r.axis(x.ndim) % x.ndim})


@family
def cumulate(r):
    x = r.normal(r.shape(1, 4), r.pick(f32, f64, i32, i64))
    return Case("CumSum", r.pick(11, 14), [x, np.array(r.axis(x.ndim), r.pick(i32, i64))], {"exclusive": r.int(0, 1), "reverse": r.int(0, 1)}, const=(1,))


@family
def binary(r):
    shape = r.shape(1, 4)

    def operand():
        s = [1 if r.one(4) else d for d in shape]
        return s[r.int(0, len(s)) * r.int(0, 1) :]

    op = r.pick("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mean", "PRelu", "Mod", "Greater", "LessOrEqual", "Equal", "And", "BitShift", "Where", "BitwiseXor")
    a, b = operand(), operand()
    if op == "PRelu":
        return Case(op, r.pick(9, 16), [r.normal(shape), r.normal(b if len(b) <= len(shape) else [])])
    if op == "And":
        return Case(op, 7, [r.normal(a, np.bool_), r.normal(b, np.bool_)])
    if op == "Pow":
        return Case(op, r.pick(12, 15), [np.abs(r.normal(a)) + f32(0.1), r.normal(b, r.pick(f32, i32, i64))])
    if op == "BitShift":
        return Case(op, 11, [r.normal(a, u8), r.normal(b, u8) % u8(8)], {"direction": r.pick("LEFT", "RIGHT")})
    if op == "BitwiseXor":
        return Case(op, 18, [r.normal(a, i32), r.normal(b, i32)])
    if op == "Where":
        return Case(op, r.pick(9, 16), [r.normal(operand(), np.bool_), r.normal(a), r.normal(b)])
    dtype = r.pick(f32, f32, f64, i32, i64)
    if op == "Mean":
        dtype = f32
    x, y = r.normal(a, dtype), r.normal(b, dtype)
    attrs = {}
    if op in ("Div", "Mod") and not np.issubdtype(dtype, np.floating):
        y[y == 0] = 3
    if op == "Mod" and np.issubdtype(dtype, np.floating) or op == "Mod" and r.one(2):
        attrs["fmod"] = 1
    return Case(op, r.pick(13, 14) if op not in ("Greater", "LessOrEqual", "Equal") else 13, [x, y], attrs)


@family
def unary(r):
    op, opset, attrs = r.pick(
        ("Abs", 13, {}), ("Ceil", 13, {}), ("Floor", 13, {}), ("Round", 11, {}), ("Neg", 13, {}), ("Sign", 13, {}), ("Exp", 13, {}), ("Erf", 13, {}),
        ("Sin", 7, {}), ("Cos", 7, {}), ("Tan", 7, {}), ("Atan", 7, {}), ("Sinh", 9, {}), ("Cosh", 9, {}), ("Tanh", 13, {}), ("Asinh", 9, {}),
        ("Sigmoid", 13, {}), ("Relu", 14, {}), ("Softplus", 1, {}), ("Softsign", 1, {}), ("HardSwish", 14, {}), ("Mish", 18, {}), ("IsNaN", 13, {}),
        ("Elu", 6, {"alpha": 0.7}), ("Celu", 12, {"alpha": 0.7}), ("Selu", 6, {}), ("LeakyRelu", 16, {"alpha": 0.1}), ("ThresholdedRelu", 10, {"alpha": 0.5}),
        ("HardSigmoid", 6, {"alpha": 0.3, "beta": 0.4}), ("Shrink", 9, {"lambd": 0.4, "bias": 0.2}), ("Gelu", 20, {}), ("Gelu", 20, {"approximate": "tanh"}),
        ("Sqrt", 13, {}), ("Log", 13, {}), ("Reciprocal", 13, {}))
    x = r.normal(r.shape(0, 4)) * f32(r.pick(1, 4, 30))
    if op in ("Sqrt", "Log", "Reciprocal"):
        x = np.abs(x) + f32(1e-3)
    if op in ("Exp", "Sinh", "Cosh"):
        x = x / f32(3)
    if op == "Tan":
        x = np.clip(x, -1.4, 1.4)
    return Case(op, opset, [x], attrs)


@family
def cast(r):
    to = {f32: TensorProto.FLOAT, f64: TensorProto.DOUBLE, f16: TensorProto.FLOAT16, i64: TensorProto.INT64, i32: TensorProto.INT32, np.bool_: TensorProto.BOOL, u8: TensorProto.UINT8}
    target = r.pick(*to)
    x = r.normal(r.shape(0, 3), r.pick(f32, f64, i64, i32, np.bool_)) * r.pick(1, 1, 3)
    if target == u8:
        x = np.abs(x)
    if r.one(4):
        return Case("Clip", r.pick(11, 13), [r.normal(r.shape(1, 3)), r.pick(None, f32(-0.5)), r.pick(None, f32(0.5))])
    return Case("Cast", r.pick(9, 13, 19), [x], {"to": to[target]})


@family
def quantize(r):
    kind = r.int(0, 6)
    q = r.pick(u8, i8)
    zero = lambda n=(): r.normal(n, q)
    scale = lambda n=(): r.uniform(n, 0.02, 0.3)
    if kind == 0:
        x = r.normal(r.ints(3, 1, 6)) * 3
        if r.one(2):
            return Case("QuantizeLinear", r.pick(13, 19), [x, scale([x.shape[1]]), zero([x.shape[1]])], {"axis": r.pick(1, -2)})
        return Case("QuantizeLinear", r.pick(10, 13), [x, scale(), zero()])
    if kind == 1:
        x = r.normal(r.ints(3, 1, 6), q)
        if r.one(2):
            return Case("DequantizeLinear", r.pick(13, 19), [x, scale([x.shape[1]]), zero([x.shape[1]])], {"axis": 1})
        return Case("DequantizeLinear", r.pick(10, 13), [x, scale(), zero()])
    if kind == 2:
        return Case("DynamicQuantizeLinear", 11, [r.normal(r.ints(2, 1, 8))], outs=3)
    m, k, n = r.ints(3, 1, 12)
    if kind == 3:
        return Case("MatMulInteger", 10, [r.normal([m, k], u8), r.normal([k, n], q), r.normal([], u8), zero()][: r.pick(2, 4)])
    if kind == 4:
        a = r.normal([m, k], q)
        return Case("QLinearMatMul", 10, [a, scale(), zero(), r.normal([k, n], q), scale(), zero(), scale() * f32(k), zero()])
    attrs = {}
    x = r.normal(r.image(2), u8)
    w = window(r, x.shape[2:], attrs)
    if not w or "auto_pad" in attrs:
        return None
    attrs["group"], cin, cout = grouped(r, x.shape[1])
    weight = r.normal([attrs["group"] * cout, cin] + w[0], u8)
    if kind == 5:
        return Case("ConvInteger", 10, [x, weight, r.normal([], u8), r.normal([], u8)][: r.pick(2, 3, 4)], attrs, const=(1, 2, 3))
    ins = [x, scale(), r.normal([], u8), weight, scale(), r.normal([], u8), scale() * f32(9), r.normal([], u8)]
    if r.one(2):
        ins.append(r.normal([weight.shape[0]], i32))
    return Case("QLinearConv", 10, ins, attrs, const=range(1, 9))


@family
def recurrent(r):
    op = r.pick("RNN", "GRU", "LSTM")
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    t, b, i, h = r.int(1, 5), r.int(1, 3), r.int(1, 5), r.int(1, 6)
    direction = r.pick("forward", "reverse", "bidirectional")
    d = 2 if direction == "bidirectional" else 1
    ins = [r.normal([t, b, i]), r.normal([d, gates * h, i]), r.normal([d, gates * h, h]), r.normal([d, 2 * gates * h]) if r.one(2) else None,
           r.g.integers(1, t + 1, b).astype(i32) if r.one(3) else None, r.normal([d, b, h]) if r.one(2) else None]
    attrs = {"hidden_size": h, "direction": direction}
    if op == "LSTM":
        ins += [r.normal([d, b, h]) if r.one(2) else None, r.normal([d, 3 * h]) if r.one(3) else None]
    if op == "GRU":
        attrs["linear_before_reset"] = r.int(0, 1)
    if r.one(4):
        attrs["clip"] = 0.5
    while ins[-1] is None:
        ins.pop()
    return Case(op, r.pick(7, 14), ins, attrs, outs=3 if op == "LSTM" else 2)


@family
def sampling(r):
    kind = r.int(0, 3)
    if kind == 0:
        opset = r.pick(16, 20)
        mode = r.pick("bilinear", "nearest", "bicubic") if opset == 16 else r.pick("linear", "nearest", "cubic")
        x = r.normal([r.int(1, 2), r.int(1, 3)] + r.ints(2, 2, 7))
        grid = r.uniform([x.shape[0]] + r.ints(2, 1, 6) + [2], -1.3, 1.3)
        return Case("GridSample", opset, [x, grid], {"mode": mode, "padding_mode": r.pick("zeros", "border", "reflection"), "align_corners": r.int(0, 1)})
    if kind == 1:
        x = r.normal([2, 3, 8, 9])
        low = r.uniform([4, 2], 0, 5)
        rois = np.concatenate([low, low + r.uniform([4, 2], 0.5, 5)], 1)
        opset = r.pick(10, 16)
        attrs = {"mode": r.pick("avg", "max"), "output_height": r.int(1, 4), "output_width": r.int(1, 4), "sampling_ratio": r.int(0, 2), "spatial_scale": r.pick(1.0, 0.5)}
        if opset == 16:
            attrs["coordinate_transformation_mode"] = r.pick("half_pixel", "output_half_pixel")
        return Case("RoiAlign", opset, [x, rois, r.g.integers(0, 2, 4).astype(i64)], attrs)
    if kind == 2:
        n = r.pick(2, 5, 8, 12, 17)
        x = r.normal([2, n, r.int(1, 2)])
        onesided = r.int(0, 1) if x.shape[2] == 1 else 0
        return Case("DFT", 17, [x], {"axis": 1, "inverse": 0 if onesided else r.int(0, 1), "onesided": onesided})
    if r.one(2):
        n = r.int(1, 5)
        return Case("Det", r.pick(11, 22), [r.normal([r.int(1, 3), n, n])])
    h, w = r.ints(2, 1, 5)
    return Case("AffineGrid", 20, [r.normal([2, 2, 3]), np.array([2, 3, h, w], i64)], {"align_corners": r.int(0, 1)}, const=(1,), tags="of_one" if min(h, w) == 1 else "")


def expected(model, case):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {f"x{i}": x for i, x in enumerate(case.inputs) if x is not None and i not in case.const})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=2000, help="cases that onnxruntime runs (default 2000)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    onnxruntime.set_default_logger_severity(4)
    if args.dir.exists():
        shutil.rmtree(args.dir)
    args.dir.mkdir(parents=True)
    refused = collections.Counter()
    done, i = 0, 0
    with open(args.dir / "cases.tsv", "w") as cases:
        while done < args.count:
            r = Random([args.seed, i])
            case = families[i % len(families)](r)
            i += 1
            if case is None:
                continue
            case.inputs = [None if x is None else np.asarray(x) for x in case.inputs]
            model = case.model()
            try:
                outs = expected(model, case)
            except Exception as e:  # onnxruntime has many kinds
                refused[f"{case.op}-{case.opset}\t{' '.join(str(e).split())[:160]}"] += 1
                continue
            for value, y in zip(model.graph.output, outs):
                value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.asarray(y).dtype)
            name = f"{i:06d}"
            data = args.dir / name / "test_data_set_0"
            data.mkdir(parents=True)
            (args.dir / name / "model.onnx").write_bytes(model.SerializeToString())
            given = [x for j, x in enumerate(case.inputs) if x is not None and j not in case.const]
            for kind, list_ in (("input", given), ("output", outs)):
                for j, x in enumerate(list_):
                    (data / f"{kind}_{j}.pb").write_bytes(numpy_helper.from_array(np.asarray(x)).SerializeToString())
            cases.write(f"{name}\t{case}\n")
            done += 1
    with open(args.dir / "refused.tsv", "w") as f:
        for reason, n in sorted(refused.items()):
            f.write(f"{n}\t{reason}\n")
    print(f"{done} cases in {args.dir}; onnxruntime refused {sum(refused.values())}")


if __name__ == "__main__":
    main()
