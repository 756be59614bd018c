"""Makes identity_u8.safetensors from face-api's files of dlib's recognition network.

usage: make_identity.py MANIFEST.json WEIGHTS.bin   (numpy 2.4.6, safetensors 0.8.0)

Weights that come as bytes stay bytes; `.levels` has the value of a step and of byte 0 for each output channel, into
which the scale per channel that follows a convolution is taken up. The others become half precision. `.bias` has
taken up the offset that follows. Convolutions are counted in the order in which they are computed.
"""
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

manifest = json.loads(Path(sys.argv[1]).read_text())[0]["weights"]
blob = Path(sys.argv[2]).read_bytes()
values, at = {}, 0
for entry in manifest:
    count = int(np.prod(entry["shape"]))
    steps = entry.get("quantization")
    kind = np.dtype(np.uint8 if steps else np.float32)
    raw = np.frombuffer(blob, kind, count, at).reshape(entry["shape"])
    at += count * kind.itemsize
    values[entry["name"]] = (raw, (steps["scale"], steps["min"]) if steps else None)
assert at == len(blob)


def plain(name):
    raw, steps = values[name]
    return raw.astype(np.float64) * steps[0] + steps[1] if steps else raw.astype(np.float64)


out = {}


def put(name, weight, gain, bias):
    raw, steps = weight
    if steps:
        out[f"{name}.weight"] = np.ascontiguousarray(raw)
        out[f"{name}.levels"] = np.stack([gain * steps[0], gain * steps[1]], 1).astype(np.float32)
    else:
        shape = (-1,) + (1,) * (raw.ndim - 1)
        out[f"{name}.weight"] = np.ascontiguousarray(raw * gain.reshape(shape), np.float16)
    out[f"{name}.bias"] = bias.astype(np.float32)


names = [e["name"][: -len("/conv/filters")] for e in manifest if e["name"].endswith("/conv/filters")]
for k, name in enumerate(names):
    raw, steps = values[f"{name}/conv/filters"]
    gain, offset = plain(f"{name}/scale/weights"), plain(f"{name}/scale/biases")
    put(f"conv{k}", (raw.transpose(3, 2, 0, 1), steps), gain, plain(f"{name}/conv/bias") * gain + offset)
raw, steps = values["fc"]
put("dense", (raw.T, steps), np.ones(raw.shape[1]), np.zeros(raw.shape[1]))
print([(name, out[f"conv{k}.weight"].dtype, out[f"conv{k}.weight"].shape) for k, name in enumerate(names)])
save_file(out, Path(__file__).parent / "identity_u8.safetensors")
