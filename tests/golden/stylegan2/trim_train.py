"""Cuts the reference results of training down to what the tests read.

usage: trim_train.py FULL_SET_FOLDER OUT_FOLDER   (numpy 2.4.6, safetensors 0.6)

A sampled tensor is [norm, up to 64 entries at a fixed stride]: entry k is element k * stride of the
flattened tensor, with stride = max(1, floor(n / 64)).
"""
import sys
import numpy as np
from safetensors.numpy import load_file, save_file

src, out = sys.argv[1], sys.argv[2]


def sample(values):
    flat = values.reshape(-1).astype(np.float64)
    stride = max(1, flat.size // 64)
    return np.concatenate([[np.sqrt((flat**2).sum())], flat[::stride][:64]]).astype(np.float32)


# Gradients and losses of every phase; the inputs are in official_*_loss_f32.safetensors.
for net in ["uncond32", "cond32", "gray16_resnetG_skipD"]:
    full = load_file(f"{src}/official_{net}_loss_f32.safetensors")
    kept = {}
    for name, values in full.items():
        if ".grad." in name:
            kept[name] = sample(values)
        elif "Loss/" in name or name.endswith("pl_mean_after") or name == "mix_z":
            kept[name] = values
    save_file(kept, f"{out}/train_{net}.safetensors")

# Five iterations: inputs whole, results sampled, norms of every parameter after each iteration.
full = load_file(f"{src}/official_uncond32_train5.safetensors")
kept = {}
for name, values in full.items():
    if name.startswith("final."):
        if not name.endswith("resample_filter"):
            kept[name] = sample(values)
    elif not name.endswith("_param_l2"):
        kept[name] = values
for net in "GD":
    # The order of the norms is that of the reference program: found by those of the last iteration.
    norms = np.stack([full[f"it{k}.{net}_param_l2"] for k in range(5)]).astype(np.float64)
    names = [n for n in full if n.startswith(f"final.{net}.")
             and not n.endswith(("resample_filter", "noise_const", "w_avg"))]
    assert len(names) == norms.shape[1], (net, len(names), norms.shape)
    found = set()
    for name in names:
        size = np.linalg.norm(full[name].astype(np.float64))
        k = int(np.argmin(np.abs(norms[4] - size)))
        assert abs(norms[4][k] - size) < 1e-5 * max(1, size) and k not in found, name
        found.add(k)
        kept[f"norms.{name.removeprefix('final.')}"] = norms[:, k].astype(np.float32)
save_file(kept, f"{out}/train5_uncond32.safetensors")
