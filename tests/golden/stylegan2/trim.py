"""Cuts the full set of reference results down to the tensors the tests read.

usage: trim.py FULL_SET_FOLDER OUT_FOLDER   (numpy 2.4.6, safetensors 0.6)
"""
import json, re, shutil, sys
from safetensors.numpy import load_file, save_file

src, out = sys.argv[1], sys.argv[2]
NETS = ["uncond32", "cond32", "gray16_resnetG_skipD"]
IO = re.compile(r"^(z|c|c8|cmap|ws.*|img_(const|const_psi0\.7|none|random|wplus|u8)|noise_random\..*|"
                r"logits_.*|real_u8|trace\.G\.b(8|16)\.(x|img)|f64\.(img_const|logits_real_first4))$")
LOSS = re.compile(r"^(Dr1\.(grad|Loss/r1_penalty|Loss/scores).*|Gpl\.(grad|Loss/pl_penalty).*|.*pl_mean_after|Gmain\.(grad|Loss).*|"
                  r"gen_z|gen_c|real_u8|real_c|pl_noise_raw|Gmain.w_avg_after)$")
RNG = re.compile(r"rand|seed|mt", re.I)

def cut(name, pattern, target=None):
    t = {k: v for k, v in load_file(f"{src}/{name}.safetensors").items() if pattern.match(k)}
    save_file(t, f"{out}/{target or name}.safetensors")

def fnv(values):
    """FNV-1a over the 32-bit words, 64 bits."""
    h = 0xCBF29CE484222325
    for word in values.astype("<f4").reshape(-1).view("<u4").tolist():
        h = ((h ^ word) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"

digests = {}
for n in NETS:
    shutil.copy(f"{src}/official_{n}.pkl", f"{out}/official_{n}.pkl")
    cut(f"official_{n}_io", IO)
    cut(f"official_{n}_loss_f32", LOSS)
    digests[n] = {k: [list(v.shape), fnv(v)]
                  for k, v in sorted(load_file(f"{src}/official_{n}_state.safetensors").items())}
for f in ["official_uncond32_proto3.pkl", "rosinality_uncond32.pt", "tf_uncond32_proto4.pkl", "ops.safetensors",
          "rosinality_uncond32_io.safetensors", "official_fullsize_keys.json"]:
    shutil.copy(f"{src}/{f}", f"{out}/{f}")
cut("metrics_rng", re.compile(r".*(rand|RandomState|seed|slerp).*", re.I), "rng")
d = json.load(open(f"{src}/ops_manifest.json"))
json.dump(d, open(f"{out}/ops_manifest.json", "w"))
json.dump(digests, open(f"{out}/state_fnv.json", "w"), indent=0)
