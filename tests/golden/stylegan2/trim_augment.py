"""Cuts the reference results of the augmentation pipeline down to what the tests read.

usage: trim_augment.py FULL_SET_FOLDER OUT_FOLDER   (numpy, safetensors)

Outputs and gradients keep every 5th (`debug*`) or 7th (`draws*`) value; images are bytes again.
"""
import sys
import numpy as np
from safetensors.numpy import load_file, save_file

src, out = sys.argv[1], sys.argv[2]
full = load_file(f"{src}/augment.safetensors")
byte = lambda x: np.rint((x + 1) * 127.5).astype(np.uint8)
exact = lambda x: np.array_equal(byte(x).astype(np.float32) / np.float32(127.5) - np.float32(1), x)
kept = {"Hz_geom": full["Hz_geom"], "Hz_fbank": full["Hz_fbank"]}
for name in ["images", "rect"]:
    assert exact(full[name]), name
    kept[name] = byte(full[name])
for name, value in full.items():
    if name.startswith("debug"):
        kept[name] = value.reshape(-1)[::5].copy()
    elif name.startswith("draws"):
        part = name.rsplit(".", 1)[1]
        if part in ("y", "gx"):
            kept[name] = value.reshape(-1)[::7].copy()
        elif part == "x":
            wanted = full["images"][:, : value.shape[1]]
            assert np.array_equal(value, wanted), name
        elif part == "gy" and np.array_equal(value, full["draws.bgc.p0.0.gy"]) and ".p0.0." not in name:
            pass  # the same in all of `bgc`
        else:
            kept[name] = value
save_file(kept, f"{out}/augment.safetensors")
