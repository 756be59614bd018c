"""An independent reference for networks the other files do not cover.

Written from the equations of the papers (Karras et al. 2019, 2020) and from the published names and
shapes of the tensors; it shares no code with any implementation. Everything is computed in double
precision on weights rounded to single precision.

    python3 reference.py          needs torch, numpy, safetensors; writes reference_* beside itself

Before it writes anything it opens `official_uncond32.pkl`, `official_cond32.pkl` and
`official_gray16_resnetG_skipD.pkl` (unpickled with stand-ins for their classes) and must reproduce
the images and logits of `official_*_io.safetensors`, so that it is itself held to the original.
"""
import collections, io, math, os, pickle, sys, types

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
SQRT2 = math.sqrt(2.0)

# --- Networks as functions of a dict of tensors ----------------------------------------------


def fir(x, up=1, down=1, pad=(0, 0, 0, 0), gain=1.0):
    """Zeros after each sample, padding, the filter [1, 3, 3, 1] in both directions, every down-th."""
    n, c, h, w = x.shape
    if up > 1:
        x = x[:, :, :, None, :, None] * x.new_tensor([1.0] + [0.0] * (up - 1))[:, None, None]
        x = (x * x.new_tensor([1.0] + [0.0] * (up - 1))).reshape(n, c, h * up, w * up)
    x = F.pad(x, pad)
    k = x.new_tensor([1.0, 3.0, 3.0, 1.0])
    k = torch.outer(k, k) / 64 * gain
    y = F.conv2d(x.reshape(-1, 1, *x.shape[2:]), k[None, None])
    return y.reshape(n, c, *y.shape[2:])[:, :, ::down, ::down]


def up_image(x):
    return fir(x, up=2, pad=(2, 1, 2, 1), gain=4.0)


def act(x, bias, clamp, gain=SQRT2, slope=0.2):
    x = x + bias.reshape(1, -1, *[1] * (x.ndim - 2))
    x = torch.where(x < 0, slope * x, x) * gain
    return x if clamp is None else x.clamp(-clamp * gain / SQRT2, clamp * gain / SQRT2)


def dense(x, p, name, lr=1.0):
    return x @ (p[f"{name}.weight"] * (lr / math.sqrt(x.shape[1]))).T + p[f"{name}.bias"] * lr


def unit(x):
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def mapping(p, prefix, z, c):
    parts = [] if z is None else [unit(z)]
    if c is not None:
        parts.append(unit(dense(c, p, f"{prefix}.embed")))
    x = torch.cat(parts, 1)
    layers = sum(name.startswith(f"{prefix}.fc") and name.endswith("weight") for name in p)
    for k in range(layers):
        x = dense(x, p, f"{prefix}.fc{k}", 0.01)
        x = torch.where(x < 0, 0.2 * x, x) * SQRT2
    return x


def modulated(x, p, name, w, up=1, demodulate=True):
    weight = p[f"{name}.weight"]
    s = dense(w, p, f"{name}.affine")
    if not demodulate:
        s = s / math.sqrt(weight.shape[1])
    x = x * s[:, :, None, None]
    if up == 2:
        y = fir(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), pad=(1, 1, 1, 1), gain=4.0)
    else:
        y = F.conv2d(x, weight, padding=weight.shape[2] // 2)
    if demodulate:
        power = (weight[None] * s[:, None, :, None, None]).square().sum([2, 3, 4])
        y = y * (power + 1e-8).rsqrt()[:, :, None, None]
    return y


def synthesis(p, cfg, ws, noise="const"):
    x, img, row = None, None, 0
    clamp = cfg["conv_clamp"]
    arch = cfg["g_architecture"]

    def layer(x, name, up, gain=SQRT2):
        nonlocal row
        y = modulated(x, p, name, ws[:, row], up)
        row += 1
        if noise == "const" and f"{name}.noise_const" in p:
            y = y + p[f"{name}.noise_const"] * p[f"{name}.noise_strength"]
        return act(y, p[f"{name}.bias"], clamp, gain)

    res = 4
    while res <= cfg["resolution"]:
        b = f"synthesis.b{res}"
        if res == 4:
            x = p[f"{b}.const"][None].expand(ws.shape[0], -1, -1, -1)
            x = layer(x, f"{b}.conv1", 1)
        elif arch == "resnet":
            y = fir(F.conv2d(x, p[f"{b}.skip.weight"] / math.sqrt(x.shape[1])), 2, 1, (2, 1, 2, 1), 4.0)
            x = layer(x, f"{b}.conv0", 2)
            x = y * math.sqrt(0.5) + layer(x, f"{b}.conv1", 1, SQRT2 * math.sqrt(0.5))
        else:
            x = layer(layer(x, f"{b}.conv0", 2), f"{b}.conv1", 1)
        if img is not None:
            img = up_image(img)
        if arch == "skip" or res == cfg["resolution"]:
            y = modulated(x, p, f"{b}.torgb", ws[:, row], demodulate=False)
            y = y + p[f"{b}.torgb.bias"][None, :, None, None]
            if clamp is not None:
                y = y.clamp(-clamp, clamp)
            img = y if img is None else img + y
        res *= 2
    return img


def conv(x, p, name, cfg, down=1, gain=SQRT2, linear=False):
    weight = p[f"{name}.weight"]
    o, i, k, _ = weight.shape
    weight = weight / math.sqrt(i * k * k)
    if down == 2 and k == 3:
        x = F.conv2d(fir(x, pad=(2, 2, 2, 2)), weight, stride=2)
    elif down == 2:
        x = F.conv2d(fir(x, down=2, pad=(1, 1, 1, 1)), weight)
    else:
        x = F.conv2d(x, weight, padding=k // 2)
    if linear:
        return x * gain
    return act(x, p[f"{name}.bias"], cfg["conv_clamp"], gain)


def discriminator(p, cfg, img, c):
    arch, x, res = cfg["d_architecture"], None, cfg["resolution"]
    half = math.sqrt(0.5)
    while res > 4:
        b = f"b{res}"
        if x is None or arch == "skip":
            y = conv(img, p, f"{b}.fromrgb", cfg)
            x = y if x is None else x + y
            if arch == "skip":
                img = fir(img, down=2, pad=(1, 1, 1, 1))
        if arch == "resnet":
            y = conv(x, p, f"{b}.skip", cfg, 2, half, linear=True)
            x = y + conv(conv(x, p, f"{b}.conv0", cfg), p, f"{b}.conv1", cfg, 2, SQRT2 * half)
        else:
            x = conv(conv(x, p, f"{b}.conv0", cfg), p, f"{b}.conv1", cfg, 2)
        res //= 2
    if arch == "skip":
        x = x + conv(img, p, "b4.fromrgb", {**cfg, "conv_clamp": None})
    features = cfg["mbstd_features"]
    if features > 0:
        n = x.shape[0]
        g = n if cfg["mbstd_group"] is None else min(cfg["mbstd_group"], n)
        y = x.reshape(g, n // g, features, x.shape[1] // features, 4, 4)
        y = (y.var(0, unbiased=False) + 1e-8).sqrt().mean([2, 3, 4])
        x = torch.cat([x, y.repeat(g, 1)[:, :, None, None].expand(-1, -1, 4, 4)], 1)
    x = conv(x, p, "b4.conv", cfg).flatten(1)
    x = dense(x, p, "b4.fc")
    x = torch.where(x < 0, 0.2 * x, x) * SQRT2
    x = dense(x, p, "b4.out")
    if c is not None:
        cmap = mapping(p, "mapping", None, c)
        x = (x * cmap).sum(1, keepdim=True) / math.sqrt(cmap.shape[1])
    return x


# --- Random weights under the published names --------------------------------------------------


def channels(cfg, res):
    return min(cfg["channel_base"] // res, cfg["channel_max"])


def random_networks(cfg, seed):
    """Names are those of the published networks; every tensor is perturbed, none is zero."""
    rng = np.random.RandomState(seed)
    normal = lambda *shape: rng.randn(*shape).astype(np.float32)

    def fc(out, name, o, i, lr=1.0, bias=0.0):
        out[f"{name}.weight"] = normal(o, i) / np.float32(lr)
        out[f"{name}.bias"] = ((bias + 0.3 * normal(o)) / lr).astype(np.float32)

    def mapper(out, prefix, z, c, w):
        width = z
        if c:
            fc(out, f"{prefix}.embed", w, c)
            width += w
        for k in range(cfg["mapping_layers"]):
            fc(out, f"{prefix}.fc{k}", w, width, 0.01)
            width = w

    taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64
    w, nets = cfg["w_dim"], {}
    for name in ["G", "G_ema"]:
        g = nets[name] = {}
        mapper(g, "mapping", cfg["z_dim"], cfg["c_dim"], w)
        g["mapping.w_avg"] = 0.3 * normal(w)
        res = 4
        while res <= cfg["resolution"]:
            b, ch = f"synthesis.b{res}", channels(cfg, res)
            prev = channels(cfg, res // 2) if res > 4 else ch
            g[f"{b}.resample_filter"] = taps
            if res == 4:
                g[f"{b}.const"] = normal(ch, 4, 4)
            layers = ([] if res == 4 else [("conv0", prev)]) + [("conv1", ch)]
            for layer, i in layers:
                fc(g, f"{b}.{layer}.affine", i, w, bias=1.0)
                g[f"{b}.{layer}.weight"] = normal(ch, i, 3, 3)
                g[f"{b}.{layer}.bias"] = 0.3 * normal(ch)
                g[f"{b}.{layer}.resample_filter"] = taps
                if cfg["use_noise"]:
                    g[f"{b}.{layer}.noise_const"] = normal(res, res)
                    g[f"{b}.{layer}.noise_strength"] = np.float32(0.2) * normal(1).reshape(())
            if cfg["g_architecture"] == "skip" or res == cfg["resolution"]:
                fc(g, f"{b}.torgb.affine", ch, w, bias=1.0)
                g[f"{b}.torgb.weight"] = normal(cfg["channels"], ch, 1, 1)
                g[f"{b}.torgb.bias"] = 0.1 * normal(cfg["channels"])
            if cfg["g_architecture"] == "resnet" and res > 4:
                g[f"{b}.skip.weight"] = normal(ch, prev, 1, 1)
                g[f"{b}.skip.resample_filter"] = taps
            res *= 2
    d = nets["D"] = {}
    cmap = (cfg["cmap_dim"] or channels(cfg, 4)) if cfg["c_dim"] else 0
    res = cfg["resolution"]
    while res > 4:
        b, ch, nxt = f"b{res}", channels(cfg, res), channels(cfg, res // 2)
        d[f"{b}.resample_filter"] = taps
        parts = [("conv0", ch, ch, 3), ("conv1", nxt, ch, 3)]
        if res == cfg["resolution"] or cfg["d_architecture"] == "skip":
            parts.insert(0, ("fromrgb", ch, cfg["channels"], 1))
        if cfg["d_architecture"] == "resnet":
            parts.append(("skip", nxt, ch, 1))
        for part, o, i, k in parts:
            d[f"{b}.{part}.weight"] = normal(o, i, k, k)
            if part != "skip":
                d[f"{b}.{part}.bias"] = 0.3 * normal(o)
            d[f"{b}.{part}.resample_filter"] = taps
        res //= 2
    ch = channels(cfg, 4)
    if cfg["d_architecture"] == "skip":
        d["b4.fromrgb.weight"], d["b4.fromrgb.bias"] = normal(ch, cfg["channels"], 1, 1), 0.3 * normal(ch)
        d["b4.fromrgb.resample_filter"] = taps
    d["b4.conv.weight"] = normal(ch, ch + cfg["mbstd_features"], 3, 3)
    d["b4.conv.bias"], d["b4.conv.resample_filter"] = 0.3 * normal(ch), taps
    fc(d, "b4.fc", ch, ch * 16)
    fc(d, "b4.out", cmap or 1, ch)
    if cfg["c_dim"]:
        mapper(d, "mapping", 0, cfg["c_dim"], cmap)
    return nets


# --- The checkpoint formats ---------------------------------------------------------------------


class Stored:
    """A module as NVIDIA's files hold it: a function of one dict."""

    def __init__(self, meta):
        self.meta = meta

    def __reduce__(self):
        return reconstruct, (self.meta,)


def reconstruct(meta):
    return Stored(meta)


class EasyDict(dict):
    def __reduce__(self):
        return EasyDict, (), None, None, iter(self.items())


def stand_ins():
    """The two names under which the classes of such files are known."""
    for name, attribute, value in [
        ("torch_utils.persistence", "_reconstruct_persistent_obj", reconstruct),
        ("dnnlib.util", "EasyDict", EasyDict),
    ]:
        package, _ = name.split(".")
        sys.modules.setdefault(package, types.ModuleType(package))
        module = sys.modules[name] = types.ModuleType(name)
        setattr(module, attribute, value)
        value.__module__, value.__qualname__, value.__name__ = name, attribute, attribute


BUFFERS = ("resample_filter", "noise_const", "w_avg")


def store(cls, tensors, args, kwargs, prefix=""):
    """Parameters, buffers and sub-modules of the tensors whose names start with `prefix`."""
    state = collections.OrderedDict(training=False)
    parameters, buffers, children = (collections.OrderedDict() for _ in range(3))
    for name, value in tensors.items():
        if not name.startswith(prefix):
            continue
        head, _, rest = name[len(prefix):].partition(".")
        if rest:
            children.setdefault(head, None)
        elif head in BUFFERS:
            buffers[head] = torch.from_numpy(np.array(value))
        else:
            value = torch.from_numpy(np.array(value))
            parameters[head] = torch.nn.Parameter(value)
    for child in children:
        children[child] = store(child, tensors, (), {}, f"{prefix}{child}.")
    state.update(_parameters=parameters, _buffers=buffers, _modules=children,
                 weight_gain=np.float64(0.5), _init_args=args, _init_kwargs=kwargs)
    return Stored(dict(type="class", version=6, module_src="# not needed, never run",
                       class_name=cls, state=dict(state)))


def write_nvidia(path, nets, cfg, protocol):
    common = dict(c_dim=cfg["c_dim"], img_resolution=cfg["resolution"], img_channels=cfg["channels"])
    sizes = dict(channel_base=cfg["channel_base"], channel_max=cfg["channel_max"],
                 conv_clamp=cfg["conv_clamp"], num_fp16_res=0)
    g = EasyDict(z_dim=cfg["z_dim"], w_dim=cfg["w_dim"], **common,
                 mapping_kwargs=EasyDict(num_layers=cfg["mapping_layers"]),
                 synthesis_kwargs=EasyDict(architecture=cfg["g_architecture"], use_noise=cfg["use_noise"], **sizes))
    d = EasyDict(**common, architecture=cfg["d_architecture"], cmap_dim=cfg["cmap_dim"], **sizes, block_kwargs=EasyDict(),
                 mapping_kwargs=EasyDict(num_layers=cfg["mapping_layers"]),
                 epilogue_kwargs=EasyDict(mbstd_group_size=cfg["mbstd_group"], mbstd_num_channels=cfg["mbstd_features"]))
    root = dict(training_set_kwargs=EasyDict(resolution=cfg["resolution"]),
                G=store("Generator", nets["G"], (), g), D=store("Discriminator", nets["D"], (), d),
                G_ema=store("Generator", nets["G_ema"], (), g), augment_pipe=None)
    with open(path, "wb") as f:
        pickle.dump(root, f, protocol=protocol)


def rosinality_names(g):
    """The published names of the other implementation for a skip generator without labels."""
    out = collections.OrderedDict()
    k = 0
    while f"mapping.fc{k}.weight" in g:
        out[f"style.{k + 1}.weight"], out[f"style.{k + 1}.bias"] = g[f"mapping.fc{k}.weight"], g[f"mapping.fc{k}.bias"]
        k += 1
    out["input.input"] = g["synthesis.b4.const"][None]

    def part(old, new, noise):
        out[f"{new}.conv.weight"] = g[f"{old}.weight"][None]
        for what in ["weight", "bias"]:
            out[f"{new}.conv.modulation.{what}"] = g[f"{old}.affine.{what}"]
        if noise is None:
            out[f"{new}.bias"] = g[f"{old}.bias"].reshape(1, -1, 1, 1)
        else:
            out[f"{new}.noise.weight"] = g[f"{old}.noise_strength"].reshape(1)
            out[f"{new}.activate.bias"] = g[f"{old}.bias"]
            out[f"noises.noise_{noise}"] = g[f"{old}.noise_const"][None, None]

    part("synthesis.b4.conv1", "conv1", 0)
    part("synthesis.b4.torgb", "to_rgb1", None)
    k, res = 0, 8
    while f"synthesis.b{res}.conv0.weight" in g:
        for half in range(2):
            part(f"synthesis.b{res}.conv{half}", f"convs.{2 * k + half}", 2 * k + half + 1)
        out[f"convs.{2 * k}.conv.blur.kernel"] = g[f"synthesis.b{res}.resample_filter"] * 4
        part(f"synthesis.b{res}.torgb", f"to_rgbs.{k}", None)
        out[f"to_rgbs.{k}.upsample.kernel"] = g[f"synthesis.b{res}.resample_filter"] * 4
        k, res = k + 1, res * 2
    return {name: torch.from_numpy(np.array(v)) for name, v in out.items()}


def rosinality_d(d, cfg):
    out = {"convs.0.0.weight": d[f"b{cfg['resolution']}.fromrgb.weight"],
           "convs.0.1.bias": d[f"b{cfg['resolution']}.fromrgb.bias"]}
    k, res = 1, cfg["resolution"]
    while res > 4:
        for new, old in [("conv1.0.weight", "conv0.weight"), ("conv1.1.bias", "conv0.bias"),
                         ("conv2.0.kernel", "conv1.resample_filter"), ("conv2.1.weight", "conv1.weight"),
                         ("conv2.2.bias", "conv1.bias"), ("skip.0.kernel", "skip.resample_filter"),
                         ("skip.1.weight", "skip.weight")]:
            out[f"convs.{k}.{new}"] = d[f"b{res}.{old}"]
        k, res = k + 1, res // 2
    for new, old in [("final_conv.0", "b4.conv"), ("final_linear.0", "b4.fc"), ("final_linear.1", "b4.out")]:
        out[f"{new}.weight"] = d[f"{old}.weight"]
        out[("final_conv.1" if "conv" in new else new) + ".bias"] = d[f"{old}.bias"]
    return {name: torch.from_numpy(np.array(v)) for name, v in out.items()}


def write_rosinality(nets, cfg):
    import argparse
    g, mean = rosinality_names(nets["G_ema"]), torch.from_numpy(nets["G_ema"]["mapping.w_avg"])
    converted = {"g_ema": g, "latent_avg": mean}
    path = lambda kind: os.path.join(HERE, f"reference_rosinality_{kind}.pt")
    torch.save(converted, path("legacy"), _use_new_zipfile_serialization=False)
    # A training checkpoint also holds optimiser state and the command line.
    step = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2)}},
            "param_groups": [{"lr": 0.002, "betas": (0.0, 0.99), "params": [0]}]}
    training = {"g": rosinality_names(nets["G"]), "d": rosinality_d(nets["D"], cfg), "g_ema": g,
                "g_optim": step, "d_optim": step, "args": argparse.Namespace(size=cfg["resolution"], n_mlp=2),
                "ada_aug_p": 0.25}
    torch.save(training, path("train"))


# --- Results --------------------------------------------------------------------------------------


def doubles(tensors):
    return {k: torch.from_numpy(np.array(v, dtype=np.float64)) for k, v in tensors.items()}


def results(nets, cfg, seed):
    rng = np.random.RandomState(seed)
    n = cfg["batch"]
    t = lambda *shape: torch.from_numpy(rng.randn(*shape).astype(np.float32).astype(np.float64))
    g, d = doubles(nets["G_ema"]), doubles(nets["D"])
    out = {"z": t(n, cfg["z_dim"])}
    c = None
    if cfg["c_dim"]:
        out["c"] = c = F.one_hot(torch.arange(n) % cfg["c_dim"], cfg["c_dim"]).double()
    w = mapping(g, "mapping", out["z"], c)
    rows = 2 * int(math.log2(cfg["resolution"])) - 2
    ws = out["ws"] = w[:, None].repeat(1, rows, 1)
    mean = g["mapping.w_avg"]
    out["ws_psi0.5_cut3"] = torch.cat([mean + 0.5 * (ws[:, :3] - mean), ws[:, 3:]], 1)
    out["ws_plus"] = ws + 0.3 * t(*ws.shape)
    image = lambda ws: synthesis(g, cfg, ws)
    for name in ["ws", "ws_psi0.5_cut3", "ws_plus"]:
        out["img_" + name] = image(out[name])
    out["img_none"] = synthesis(g, cfg, ws, noise="none")
    img = out["img_ws"]
    out["logits"] = discriminator(d, cfg, img, c)
    out["logits_one"] = discriminator(d, cfg, img[:1], c if c is None else c[:1])
    # Directions, adjoints and, for R1, the gradient of a gradient.
    out["dws"], out["dx"], out["y"] = t(*ws.shape), t(*img.shape), t(*img.shape)
    _, out["img_jvp"] = torch.autograd.functional.jvp(image, ws, out["dws"])
    logits = lambda x: discriminator(d, cfg, x, c)
    _, out["logits_jvp"] = torch.autograd.functional.jvp(logits, img, out["dx"])
    tracked = ws.clone().requires_grad_()
    (out["ws_grad"],) = torch.autograd.grad((image(tracked) * out["y"]).sum(), tracked)
    x = img.clone().requires_grad_()
    names = [f"b{cfg['resolution']}.conv0.weight", "b8.conv1.weight", "b4.fc.weight"]
    for name in names:
        d[name].requires_grad_()
    (inner,) = torch.autograd.grad(logits(x).sum(), x, create_graph=True)
    grads = torch.autograd.grad(0.5 * inner.square().sum(), [d[name] for name in names])
    out["x_grad"] = inner
    for name, value in zip(names, grads):
        out[f"r1.{name}"] = value
    out["img_u8"] = (img * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return {k: np.ascontiguousarray(v.detach().numpy()) for k, v in out.items()}


def settings(**changes):
    base = dict(resolution=16, channels=3, z_dim=12, w_dim=16, c_dim=0, mapping_layers=2, channel_base=128,
                channel_max=16, conv_clamp=None, use_noise=True, g_architecture="skip", d_architecture="resnet",
                cmap_dim=None, mbstd_group=4, mbstd_features=1, batch=4)
    assert set(changes) <= set(base)
    return {**base, **changes}


# One line for each network: what is in it that the other files lack.
NETWORKS = {
    "orig16": (4, settings(g_architecture="orig", d_architecture="orig", use_noise=False, c_dim=3, cmap_dim=8, mbstd_features=0)),
    "skip64": (5, settings(resolution=64, channel_base=512, batch=2)),
    "two16": (2, settings(channels=2, d_architecture="skip", conv_clamp=3.0)),
    "four8": (2, settings(resolution=8, channels=4, g_architecture="resnet", mbstd_group=None, mbstd_features=2)),
}


def flatten(module, prefix=""):
    state = module.meta["state"]
    for group in ["_parameters", "_buffers"]:
        for name, value in state[group].items():
            if value is not None:
                yield prefix + name, value.detach().numpy()
    for name, child in state["_modules"].items():
        yield from flatten(child, f"{prefix}{name}.")


def check_against_the_original(name, cfg):
    """This file's networks on the original's weights, against the original's double precision."""
    with open(os.path.join(HERE, f"official_{name}.pkl"), "rb") as f:
        file = pickle.load(f)
    io = doubles(load_file(os.path.join(HERE, f"official_{name}_io.safetensors")))
    g, d = (doubles(dict(flatten(file[k]))) for k in ["G_ema", "D"])
    error = (synthesis(g, cfg, io["ws"]) - io["img_const"]).abs().max().item()
    c = io.get("c")
    logits = discriminator(d, cfg, io["img_const"], c)
    relative = (logits - io["logits_fake"]).norm() / io["logits_fake"].norm()
    w = mapping(g, "mapping", io["z"], c)
    w_error = (w - io["ws"][:, 0]).abs().max().item()
    print(f"{name}: w differs by {w_error:.1e}, images by {error:.1e}, logits by {relative:.1e} relative")
    assert w_error < 1e-5 and error < 2e-5 and relative < 1e-5


def main():
    torch.set_num_threads(1)
    stand_ins()
    check = lambda name, **changes: check_against_the_original(name, settings(**changes))
    check("uncond32", resolution=32)
    check("cond32", resolution=32, conv_clamp=2.0, mbstd_group=2)
    check("gray16_resnetG_skipD", channels=1, g_architecture="resnet", d_architecture="skip", mbstd_group=None, mbstd_features=2)
    for seed, (name, (protocol, cfg)) in enumerate(NETWORKS.items()):
        nets = random_networks(cfg, 100 + seed)
        path = os.path.join(HERE, f"reference_{name}")
        write_nvidia(path + ".pkl", nets, cfg, protocol)
        out = results(nets, cfg, 200 + seed)
        small = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in out.items()}
        if name == "skip64":
            write_rosinality(nets, cfg)
        save_file(small, path + "_io.safetensors")
        os.chmod(path + "_io.safetensors", 0o644)
        print(f"{name}: protocol {protocol}, images up to {np.abs(out['img_ws']).max():.1f}")


if __name__ == "__main__":
    main()
