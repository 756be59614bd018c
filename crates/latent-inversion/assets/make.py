"""Makes lpips_alexnet_f16.safetensors from the same in float32.

usage: make.py lpips_alexnet_f32.safetensors   (numpy 2.4.6, safetensors 0.8.0)
"""
import sys
import numpy as np
from pathlib import Path
from safetensors.numpy import load_file, save_file

full = load_file(sys.argv[1])
half = {k: v.astype(np.float16) if k.startswith("features.") else v for k, v in full.items()}
assert all(np.isfinite(v).all() for v in half.values())
save_file(half, Path(__file__).parent / "lpips_alexnet_f16.safetensors")
