"""Makes mtcnn_f16.safetensors from the three networks in float32.

usage: make_mtcnn.py FOLDER   with mtcnn_{p,r,o}net.safetensors (numpy 2.4.6, safetensors 0.8.0)
"""
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

half = {}
for net in ("pnet", "rnet", "onet"):
    for name, value in load_file(f"{sys.argv[1]}/mtcnn_{net}.safetensors").items():
        half[f"{net}.{name}"] = value.astype(np.float16)
assert all(np.isfinite(v).all() for v in half.values())
save_file(half, Path(__file__).parent / "mtcnn_f16.safetensors")
