"""Makes age_sex_f16.safetensors from the two networks in ONNX.

usage: make_age_sex.py AGE.onnx SEX.onnx   (onnx 1.23.2, numpy 2.4.6, safetensors 0.8.0)

Each convolution takes up the scale and the offset per channel that follow it. Weights become half precision,
biases stay single. Names count the layers in the order of the graph: `age.conv0.weight`, .., `sex.dense1.bias`.
"""
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx.numpy_helper import to_array
from safetensors.numpy import save_file


def layers(path, net):
    graph = onnx.load(path).graph
    constant = {t.name: to_array(t) for t in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}

    def follows(name, kind):
        """The constant of the node of this kind whose input this is."""
        (node,) = [n for n in graph.node if name in n.input and n.op_type == kind and len(n.input) == 2]
        return constant[node.input[1]].reshape(-1), node.output[0]

    out = {}
    convolutions = dense = 0
    for node in graph.node:
        if node.op_type == "Conv":
            weight, bias = (constant[name].astype(np.float64) for name in node.input[1:])
            scale, at = follows(node.output[0], "Mul")
            offset, _ = follows(at, "Add")
            out[f"{net}.conv{convolutions}.weight"] = weight * scale[:, None, None, None]
            out[f"{net}.conv{convolutions}.bias"] = bias * scale + offset
            convolutions += 1
        elif node.op_type == "Gemm":
            weight, bias = (constant[name].astype(np.float64) for name in node.input[1:])
            # A product with one half before the layer moves into it.
            before = made_by[made_by[node.input[0]].input[0]]
            if before.op_type == "Mul":
                weight = weight * constant[before.input[1]].item()
            out[f"{net}.dense{dense}.weight"] = np.ascontiguousarray(weight.T)
            out[f"{net}.dense{dense}.bias"] = bias
            dense += 1
    return out


def main():
    tensors = layers(sys.argv[1], "age") | layers(sys.argv[2], "sex")
    tensors = {
        name: value.astype(np.float16 if name.endswith("weight") else np.float32) for name, value in tensors.items()
    }
    assert all(np.isfinite(v).all() for v in tensors.values())
    for name, value in tensors.items():
        print(name, value.shape)
    save_file(tensors, Path(__file__).parent / "age_sex_f16.safetensors")


main()
