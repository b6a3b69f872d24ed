# Writes models/classes3.onnx, models/classes3_onehot.onnx and models/classes3_widths.onnx (whose classes differ in their covariances): exact scores, in the plane, of three Gaussians at the corners of a triangle, told which
# by an index (3: all of them) or by a unit vector (zeros: all of them). Everything a class-conditional sampler draws from them is known.
#
#   pip install onnx==1.21.0 && python classes.py
import json

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

means = np.array([[0, 2], [-1.75, -1], [1.75, -1]], np.float32)
tau2 = 0.04
f = lambda name, v: nh.from_array(np.asarray(v, np.float32), name)

# Of a class the others' logarithms of weight are −1e9, which is none; of no class all are 0.
closed = np.where(np.eye(3), 0, -1e9).astype(np.float32)


def widths():
    # The three with covariances of their own: diagonal, v_k = σ² + τ²_k along each axis.
    tau2k = np.array([[0.04, 0.09], [0.25, 0.04], [0.01, 0.36]], np.float32)
    nodes = [
        h.make_node("Gather", ["table", "class"], ["lnw"], axis=0),
        h.make_node("Mul", ["sigma", "sigma"], ["s2"]),
        h.make_node("Unsqueeze", ["s2", "axes"], ["s"]),
        h.make_node("Add", ["s", "tau2"], ["v"]),  # [B,3,2]
        h.make_node("Unsqueeze", ["x", "one"], ["xk"]),
        h.make_node("Sub", ["means", "xk"], ["d"]),
        h.make_node("Div", ["d", "v"], ["dv"]),
        # ln p_k = ln w_k − Σ (d²/v + ln v)/2
        h.make_node("Mul", ["d", "dv"], ["ddv"]),
        h.make_node("Log", ["v"], ["lnv"]),
        h.make_node("Add", ["ddv", "lnv"], ["both"]),
        h.make_node("ReduceSum", ["both", "last"], ["sum"], keepdims=0),
        h.make_node("Mul", ["sum", "minus"], ["l"]),
        h.make_node("Add", ["l", "lnw"], ["logits"]),
        h.make_node("Softmax", ["logits"], ["p"], axis=-1),
        h.make_node("Unsqueeze", ["p", "last"], ["pk"]),
        h.make_node("Mul", ["pk", "dv"], ["pdv"]),
        h.make_node("ReduceSum", ["pdv", "one"], ["score"], keepdims=0),
    ]
    ints = lambda name, v: nh.from_array(np.array(v, np.int64), name)
    consts = [f("table", np.vstack([closed, np.zeros((1, 3))])), f("tau2", tau2k), f("means", means), f("minus", -0.5), ints("axes", [1, 2]), ints("one", [1]), ints("last", [2])]
    return nodes, consts, h.make_tensor_value_info("class", T.INT64, ["B"])


def model(onehot):
    if onehot:
        # ln w_k = −1e9 (Σ_j c_j − c_k)
        pick = [
            h.make_node("ReduceSum", ["class", "one"], ["any"], keepdims=1),
            h.make_node("Sub", ["class", "any"], ["lack"]),
            h.make_node("Mul", ["lack", "huge"], ["lnw"]),
        ]
        consts = [f("huge", 1e9)]
        kind = h.make_tensor_value_info("class", T.FLOAT, ["B", 3])
    else:
        pick = [h.make_node("Gather", ["table", "class"], ["lnw"], axis=0)]
        consts = [f("table", np.vstack([closed, np.zeros((1, 3))]))]
        kind = h.make_tensor_value_info("class", T.INT64, ["B"])
    nodes = pick + [
        h.make_node("Mul", ["sigma", "sigma"], ["s2"]),
        h.make_node("Add", ["s2", "tau2"], ["v1"]),
        h.make_node("Unsqueeze", ["v1", "one"], ["v"]),
        # ln p_k = ln w_k + (⟨x, m_k⟩ − |m_k|²/2)/v, up to what is the same for all
        h.make_node("MatMul", ["x", "meansT"], ["xm"]),
        h.make_node("Sub", ["xm", "half"], ["xm2"]),
        h.make_node("Div", ["xm2", "v"], ["l"]),
        h.make_node("Add", ["l", "lnw"], ["logits"]),
        h.make_node("Softmax", ["logits"], ["p"], axis=-1),
        h.make_node("MatMul", ["p", "means"], ["mean"]),
        h.make_node("Sub", ["mean", "x"], ["d"]),
        h.make_node("Div", ["d", "v"], ["score"]),
    ]
    consts += [f("tau2", tau2), f("means", means), f("meansT", means.T), f("half", (means**2).sum(1) / 2), nh.from_array(np.array([1], np.int64), "one")]
    write("classes3" + ("_onehot" if onehot else ""), "float" if onehot else "int", nodes, consts, kind)


def write(name, cond, nodes, consts, kind):
    g = h.make_graph(
        nodes, "classes3",
        [h.make_tensor_value_info("x", T.FLOAT, ["B", 2]), h.make_tensor_value_info("sigma", T.FLOAT, ["B"]), kind],
        [h.make_tensor_value_info("score", T.FLOAT, ["B", 2])], consts)
    m = h.make_model(g, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(m)
    name = "models/" + name
    onnx.save(m, name + ".onnx")
    card = {
        "score": 1, "output": "score", "x": "x", "time": "sigma", "out": "score",
        "cond": {"name": "class", "kind": cond, "n": 3},
        "time_kind": "sigma", "sde": "ve", "sigma_min": 0.01, "sigma_max": 10, "shape": [2], "prior": "gaussian",
        "sampler": {"name": "heun", "n": 40},
    }
    with open(name + ".score.json", "w") as w:
        json.dump(card, w, indent=1)
        w.write("\n")


model(False)
model(True)
write("classes3_widths", "int", *widths())
