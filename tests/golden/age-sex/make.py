"""Chips of faces and what onnxruntime makes of them.

usage: make.py AGE.onnx SEX.onnx   (onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, Pillow 13.0.0, safetensors 0.8.0)
"""
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx.numpy_helper import from_array, to_array
from PIL import Image
from safetensors.numpy import load_file

from draw import chip

here = Path(__file__).parent
root = here / "../../.."
MEAN = np.array([122.781998, 117.000999, 104.297997], np.float32)


def rounded(path, net):
    """The model with the shipped weights in place of its own."""
    shipped = load_file(root / "crates/latent-inversion/assets/age_sex_f16.safetensors")
    model = onnx.load(path)
    graph = model.graph
    constants = {t.name: t for t in graph.initializer}

    def put(name, value):
        old = to_array(constants[name])
        constants[name].CopyFrom(from_array(value.reshape(old.shape).astype(np.float32), name))

    counts = {"Conv": 0, "Gemm": 0}
    for node in graph.node:
        if node.op_type in counts:
            kind = {"Conv": "conv", "Gemm": "dense"}[node.op_type]
            name = f"{net}.{kind}{counts[node.op_type]}"
            counts[node.op_type] += 1
            weight = shipped[f"{name}.weight"].astype(np.float32)
            put(node.input[1], weight if kind == "conv" else weight.T.copy())
            put(node.input[2], shipped[f"{name}.bias"])
        elif node.op_type == "Mul" and node.input[1] in constants:
            put(node.input[1], np.ones_like(to_array(constants[node.input[1]])))
        elif node.op_type == "Add" and node.input[1] in constants:
            put(node.input[1], np.zeros_like(to_array(constants[node.input[1]])))
    return model.SerializeToString()


def run(model, chips):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    images = ((np.array(chips, np.float32) - MEAN) / 256).transpose(0, 3, 1, 2)
    return session.run(None, {"images": np.ascontiguousarray(images)})[0]


found = json.loads((here / "../mtcnn/faces.json").read_text())
cases, wide, narrow = [], [], []
for name, faces in found.items():
    if name.endswith("cut.png"):
        continue
    photo = np.array(Image.open(root / name).convert("RGB")).astype(float)
    for face in faces:
        large, inside = chip(photo, face["landmarks"], 64, 0.2)
        small, _ = chip(photo, face["landmarks"], 32, 0.2)
        wide.append(large)
        narrow.append(small)
        cases.append({"photo": name, "landmarks": face["landmarks"], "inside": inside})
for name, chips in (("64", wide), ("32", narrow)):
    Image.fromarray(np.concatenate(chips, 1)).save(here / f"chips_{name}.png", optimize=True)
years = np.r_[0.25, np.arange(1, 81)]
age_path, sex_path = sys.argv[1:]
for what, models in (("single", [Path(p).read_bytes() for p in sys.argv[1:]]),
                     ("half", [rounded(age_path, "age"), rounded(sex_path, "sex")])):
    ages, sexes = run(models[0], wide), run(models[1], narrow)
    for case, p, q in zip(cases, ages, sexes):
        case[what] = {"age": float(p @ years), "years": [float(f"{v:.8g}") for v in p], "male": float(q[1])}
for case in cases:
    print(case["photo"], case["inside"], [(round(case[k]["age"], 3), round(case[k]["male"], 5)) for k in ("single", "half")])
(here / "cases.json").write_text(json.dumps(cases, indent=1))
