"""Cuts the reference results for LPIPS down to what the tests read.

usage: make.py FULL_SET_FOLDER REAL_WEIGHTS_GOLDEN_JSON OUT_FOLDER   (numpy 2.4.6, safetensors 0.8.0)

Gradients keep every 11th value, maps every 5th; images that are bytes are stored as such.
"""
import json, sys
import numpy as np
from safetensors.numpy import load_file, save_file

src, real, out = sys.argv[1:]
full = load_file(f"{src}/lpips.safetensors")
kept = {}
for name, value in full.items():
    if ".v0.0." in name:
        continue
    if name in ("img0", "rect0", "rect1"):
        byte = np.rint((value + 1) * 127.5).astype(np.uint8)
        assert np.array_equal(byte.astype(np.float32) / np.float32(127.5) - np.float32(1), value), name
        kept[name] = byte
    elif "grad" in name:
        kept[name] = value.reshape(-1)[::11].copy()
        kept[f"{name}.norm"] = np.linalg.norm(value.astype(np.float64)).reshape(1)
    elif name.endswith("spatial"):
        kept[name] = value.reshape(-1)[::5].copy()
    else:
        kept[name] = value
save_file(kept, f"{out}/lpips.safetensors")
cases = [c for c in json.load(open(real))["cases"] if "a" not in c]
json.dump(cases, open(f"{out}/real_weights.json", "w"), indent=1)
