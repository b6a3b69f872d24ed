"""Writes models/anysize.onnx: a network whose image size is open, as exporters write one with dynamic height and width.

    python anysize.py      (needs onnx and numpy)

It doubles the image by a nearest Resize to the size 2·Shape(x), sums 3×3 windows by a convolution, and flattens by a
Reshape whose shape is computed from Shape(x).
"""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

const = lambda name, value: numpy_helper.from_array(np.array(value), name)
node = helper.make_node
graph = helper.make_graph(
    [
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "two", "four"], ["hw"]),
        node("Mul", ["hw", "two"], ["hw2"]),
        node("Slice", ["s", "zero", "two"], ["nc"]),
        node("Concat", ["nc", "hw2"], ["size"], axis=0),
        node("Resize", ["x", "", "", "size"], ["big"], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        node("Conv", ["big", "w"], ["sums"], pads=[1, 1, 1, 1]),
        node("Slice", ["s", "zero", "one"], ["n"]),
        node("Concat", ["n", "minus"], ["flat"], axis=0),
        node("Reshape", ["sums", "flat"], ["y"]),
    ],
    "anysize",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, "height", "width"])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "pixels"])],
    [const("zero", [0]), const("one", [1]), const("two", [2]), const("four", [4]), const("minus", [-1]), const("w", np.ones((1, 1, 3, 3), np.float32))],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "models/anysize.onnx")
