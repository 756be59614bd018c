"""Chips of faces and what dlib's recognition network makes of them, in PyTorch, as its layers are published.

usage: make.py MANIFEST.json WEIGHTS.bin   (torch 2.8.0, numpy 2.4.6, Pillow 13.0.0)
"""
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

here = Path(__file__).parent
sys.path.insert(0, str(here / "../age-sex"))
from draw import chip  # noqa: E402

root = here / "../../.."
torch.set_num_threads(1)
manifest = json.loads(Path(sys.argv[1]).read_text())[0]["weights"]
blob = Path(sys.argv[2]).read_bytes()
value, at = {}, 0
for entry in manifest:
    count = int(np.prod(entry["shape"]))
    steps = entry.get("quantization")
    kind = np.dtype(np.uint8 if steps else np.float32)
    raw = np.frombuffer(blob, kind, count, at).astype(np.float32)
    at += count * kind.itemsize
    if steps:
        raw = raw * np.float32(steps["scale"]) + np.float32(steps["min"])
    value[entry["name"]] = torch.tensor(raw.reshape(entry["shape"]))


def layer(x, name, stride, padding):
    filters = value[f"{name}/conv/filters"].permute(3, 2, 0, 1)
    x = F.conv2d(x, filters, value[f"{name}/conv/bias"], stride=stride, padding=padding)
    scale, offset = (value[f"{name}/scale/{w}"][:, None, None] for w in ("weights", "biases"))
    return x * scale + offset


def block(x, name):
    down = "down" in name
    y = F.relu(layer(x, f"{name}/conv1", 2 if down else 1, 0 if down else 1))
    y = layer(y, f"{name}/conv2", 1, 1)
    x = F.avg_pool2d(x, 2) if down else x
    both = [t.shape for t in (x, y)]
    size = [max(s[c] for s in both) for c in (1, 2, 3)]
    grow = lambda t: F.pad(t, (0, size[2] - t.shape[3], 0, size[1] - t.shape[2], 0, size[0] - t.shape[1]))
    return F.relu(grow(x) + grow(y))


def run(chips):
    mean = np.array([122.782, 117.001, 104.298], np.float32)
    x = torch.tensor(((np.array(chips, np.float32) - mean) / 256).transpose(0, 3, 1, 2))
    x = F.max_pool2d(F.relu(layer(x, "conv32_down", 2, 0)), 3, 2)
    names = [e["name"].split("/")[0] for e in manifest if e["name"].endswith("conv1/conv/filters")]
    for name in names:
        x = block(x, name)
    return (x.mean((2, 3)) @ value["fc"]).numpy()


if __name__ == "__main__":
    found = json.loads((here / "../mtcnn/faces.json").read_text())
    cases, chips = [], []
    for name in ("examples/data/orl/s10_07.png", "examples/data/orl/s17_02.png", "tests/golden/mtcnn/pair.png"):
        photo = np.array(Image.open(root / name).convert("RGB")).astype(float)
        for face in found[name]:
            drawn, inside = chip(photo, face["landmarks"], 150, 0.25)
            chips.append(drawn)
            cases.append({"photo": name, "landmarks": face["landmarks"], "inside": inside})
    for case, embedding in zip(cases, run(chips)):
        case["embedding"] = [float(f"{v:.7g}") for v in embedding]
        print(case["photo"], case["inside"], np.linalg.norm(embedding))
    Image.fromarray(np.concatenate(chips, 1)).save(here / "chips.png", optimize=True)
    (here / "cases.json").write_text(json.dumps(cases, indent=1))
