"""The recorded run again, in PyTorch and in other orders of rounding: how far does it determine w?

usage: trace.py STYLEGAN2_DIR LPIPS_FILE PROJECTOR_FILE [OUT]

STYLEGAN2_DIR holds `rosinality_uncond32.pt`, the network of the recorded run; LPIPS_FILE the heads of LPIPS;
PROJECTOR_FILE the recorded run. Written from the published equations (Karras et al. 2020, section 5 and
appendix D; Zhang et al. 2018). Runs in double precision and, in single precision, with one and two threads,
with and without oneDNN, with scaled kernels and with scaled activations, and prints for each how far its w is
from the recorded one and from that of double precision. OUT gets w and loss of the double-precision run.
"""
import math, sys
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file, save_file

LAYERS = ["b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1", "b32.conv0", "b32.conv1"]
VGG = [(0, 3, 64), (2, 64, 64), "tap", "pool", (5, 64, 128), (7, 128, 128), "tap", "pool",
       (10, 128, 256), (12, 256, 256), (14, 256, 256), "tap", "pool",
       (17, 256, 512), (19, 512, 512), (21, 512, 512), "tap", "pool",
       (24, 512, 512), (26, 512, 512), (28, 512, 512), "tap"]


def formula(seed, n, scale):
    x = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    u = (x >> np.uint64(40)).astype(np.float64) / 2**24
    return ((2 * u - 1) * scale).astype(np.float32)


def perceptual(heads, dtype):
    """Distances to a picture that is given once."""
    convs = []
    for k, (_, i, o) in enumerate([s for s in VGG if isinstance(s, tuple)]):
        w = formula(2000 + 2 * k, o * i * 9, math.sqrt(6 / (i * 9))).reshape(o, i, 3, 3)
        b = formula(2001 + 2 * k, o, 0.2)
        convs.append((torch.tensor(w, dtype=dtype), torch.tensor(b, dtype=dtype)))
    lin = [torch.tensor(heads[f"vgg.lin{i}.weight"].reshape(1, -1, 1, 1), dtype=dtype) for i in range(5)]
    row = lambda v: torch.tensor(v, dtype=dtype).reshape(1, 3, 1, 1)
    shift, scale = row([-.030, -.088, -.188]), row([.458, .448, .450])

    def features(x):  # [N, 3, H, W] in [0, 255]
        x = (x / 127.5 - 1 - shift) / scale
        out, k = [], 0
        for step in VGG:
            if step == "pool":
                x = F.max_pool2d(x, 2)
            elif step == "tap":
                out.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
            else:
                x = F.relu(F.conv2d(x, *convs[k], padding=1))
                k += 1
        return out

    def distance(a, b):
        return sum(((x - y).square() * w).sum(1).mean() for x, y, w in zip(a, b, lin))

    return features, distance


def synthesis(file, dtype, fused):
    state = torch.load(file, map_location="cpu", weights_only=False)["g_ema"]
    p = {k: v.to(dtype) for k, v in state.items()}
    fir = torch.tensor([1., 3., 3., 1.], dtype=dtype)
    fir = torch.outer(fir, fir) / 64

    def blur(x, pad, gain):
        c = x.shape[1]
        return F.conv2d(F.pad(x, pad), (fir * gain).expand(c, 1, 4, 4), groups=c)

    def style(name, w):
        a = p[name + ".modulation.weight"]
        return w @ a.T / math.sqrt(a.shape[1]) + p[name + ".modulation.bias"]

    def conv(x, name, w, noise, up):
        s, k = style(name + ".conv", w), p[name + ".conv.weight"][0]
        u = k * s.reshape(1, -1, 1, 1)
        d = (u.square().sum([1, 2, 3]) + 1e-8).rsqrt()
        if fused:
            k = u * d.reshape(-1, 1, 1, 1)
        else:
            x = x * s.reshape(1, -1, 1, 1)
        if up:
            x = blur(F.conv_transpose2d(x, k.transpose(0, 1), stride=2), (1, 1, 1, 1), 4)
        else:
            x = F.conv2d(x, k, padding=1)
        if not fused:
            x = x * d.reshape(1, -1, 1, 1)
        x = x + noise * p[name + ".noise.weight"]
        return F.leaky_relu(x + p[name + ".activate.bias"].reshape(1, -1, 1, 1), 0.2) * math.sqrt(2)

    def rgb(x, name, w):
        k = p[name + ".conv.weight"][0]
        s = style(name + ".conv", w) / math.sqrt(k.shape[1])
        return F.conv2d(x, k * s.reshape(1, -1, 1, 1)) + p[name + ".bias"]

    def double(img):
        n, c, h, w = img.shape
        z = torch.zeros(n, c, h, 2, w, 2, dtype=dtype)
        z[:, :, :, 0, :, 0] = img
        return blur(z.reshape(n, c, 2 * h, 2 * w), (2, 1, 2, 1), 4)

    def forward(w, noise):
        x = conv(p["input.input"], "conv1", w, noise[0], False)
        img = rgb(x, "to_rgb1", w)
        for i in range(3):
            x = conv(x, f"convs.{2 * i}", w, noise[2 * i + 1], True)
            x = conv(x, f"convs.{2 * i + 1}", w, noise[2 * i + 2], False)
            img = double(img) + rgb(x, f"to_rgbs.{i}", w)
        return img

    return forward


def penalty(noise):
    total = 0
    for n in noise:
        n = n[None, None]
        while True:
            total = total + (n * n.roll(1, 3)).mean() ** 2 + (n * n.roll(1, 2)).mean() ** 2
            if n.shape[2] <= 8:
                break
            n = F.avg_pool2d(n, 2)
    return total


def run(network, heads, gold, dtype, fused=True):
    forward = synthesis(network, dtype, fused)
    features, distance = perceptual(heads, dtype)
    tensor = lambda name: torch.tensor(gold[name], dtype=dtype)
    with torch.no_grad():
        target = features(tensor("target_u8")[None])
    w = tensor("w_avg").reshape(1, -1).clone().requires_grad_()
    noise = [tensor(f"noise_init.{n}.noise_const").clone().requires_grad_() for n in LAYERS]
    adam = torch.optim.Adam([w, *noise], betas=(0.9, 0.999), lr=0.1)
    steps, std, losses, path = len(gold["loss"]), float(gold["w_std"]), [], []
    for step in range(steps):
        t = step / steps
        down = 0.5 - 0.5 * math.cos(math.pi * min(1, (1 - t) / 0.25))
        adam.param_groups[0]["lr"] = 0.1 * down * min(1, t / 0.05)
        strength = std * 0.05 * max(0, 1 - t / 0.75) ** 2
        image = forward(w + tensor("w_noise_normal")[step] * strength, noise)
        loss = distance(features((image + 1) * 127.5), target) + 1e5 * penalty(noise)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
        path.append(w.detach().double().numpy()[0].copy())
        with torch.no_grad():
            for n in noise:
                n -= n.mean()
                n *= n.square().mean().rsqrt()
    return np.array(losses), np.array(path)


def main():
    folder, heads, gold = sys.argv[1], load_file(sys.argv[2]), load_file(sys.argv[3])
    network = f"{folder}/rosinality_uncond32.pt"
    torch.set_num_threads(1)
    truth = run(network, heads, gold, torch.float64)
    runs = {"recorded": (gold["loss"], gold["w_traj"].astype(np.float64))}
    for threads in [1, 2]:
        torch.set_num_threads(threads)
        for onednn in [True, False]:
            for fused in [True, False]:
                with torch.backends.mkldnn.flags(enabled=onednn):
                    name = f"{threads} thread{'s' * (threads > 1)}, {'oneDNN' if onednn else 'no oneDNN'}, " \
                           f"{'kernels' if fused else 'activations'} scaled"
                    runs[name] = run(network, heads, gold, torch.float32, fused)
    marks = [1, 4, 9, 14, 19, 24, 29]
    print("largest difference of w from double precision after step", *[m + 1 for m in marks],
          "| of any step | of loss, relative | of w from the recorded run, any step")
    for name, (loss, path) in runs.items():
        off = np.abs(path - truth[1]).max(1)
        print(f"{name:45}", *[f"{off[m]:.1e}" for m in marks], f"| {off.max():.1e}",
              f"| {np.abs(loss / truth[0] - 1).max():.1e} | {np.abs(path - runs['recorded'][1]).max():.1e}")
    if len(sys.argv) > 4:
        save_file({"loss": truth[0], "w_traj": truth[1]}, sys.argv[4])


main()
