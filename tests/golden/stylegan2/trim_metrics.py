"""Cuts the reference results of the metrics' formulas out of the full set.

usage: trim_metrics.py FULL_SET_FOLDER OUT_FOLDER   (numpy, safetensors)
"""
import sys
from safetensors.numpy import load_file, save_file

src, out = sys.argv[1], sys.argv[2]
full = load_file(f"{src}/metrics_rng.safetensors")
names = {"feat_real": "real", "feat_gen": "fake", "fid": "frechet", "kid(10 subsets of 100)": "kernel",
         "kid.subset_indices(gen,real alternating)": "subsets", "pr3(precision,recall; fp16 features)": "precision_recall",
         "ppl.dist": "path.distances", "ppl.filtered_mean": "path.mean"}
save_file({new: full[old] for old, new in names.items()}, f"{out}/metrics.safetensors")
