"""The same generators in PyTorch, and alternating rounds against the Rust bench.

usage: stylegan2_torch.py TASK ROUNDS [THREADS]      one side, JSON lines
       stylegan2_torch.py compare BENCH_BINARY ROUNDS [THREADS]

Written from the published equations (Karras et al. 2020), for time only: weights are random.
"""
import json, math, os, statistics, subprocess, sys, time

def build(size, base):
    import torch
    import torch.nn.functional as F
    ch = lambda r: min(base // r, 512)
    k = torch.tensor([1., 3., 3., 1.]); k = torch.outer(k, k) / 64
    layers, c = [], ch(4)
    def layer(i, o, r, up):
        return dict(a=torch.randn(i, 512) / math.sqrt(512), w=torch.randn(o, i, 3, 3), b=torch.zeros(o),
                    n=torch.randn(r, r), s=torch.zeros([]), up=up, r=r)
    def rgb(i): return dict(a=torch.randn(i, 512) / math.sqrt(512), w=torch.randn(3, i, 1, 1), b=torch.zeros(3))
    const = torch.randn(1, ch(4), 4, 4)
    blocks, r = [], 4
    while r <= size:
        i = ch(r // 2) if r > 4 else ch(4)
        blocks.append(([layer(i, ch(r), r, True)] if r > 4 else []) + [layer(ch(r), ch(r), r, False), rgb(ch(r))])
        r *= 2
    def fir(x, pad, gain):
        c = x.shape[1]
        return F.conv2d(F.pad(x, pad), (k * gain).expand(c, 1, 4, 4), groups=c)
    def style(p, w): return w @ p["a"].T + 1
    def conv(x, p, w):
        s = style(p, w)
        u = p["w"] * s.reshape(1, -1, 1, 1)
        u = u * (u.square().sum([1, 2, 3], keepdim=True) + 1e-8).rsqrt()
        if p["up"]:
            x = fir(F.conv_transpose2d(x, u.transpose(0, 1), stride=2), (1, 1, 1, 1), 4)
        else:
            x = F.conv2d(x, u, padding=1)
        x = x + p["n"] * p["s"] + p["b"].reshape(1, -1, 1, 1)
        return (F.leaky_relu(x, 0.2) * math.sqrt(2)).clamp(-256, 256)
    def torgb(x, p, w):
        s = style(p, w) / math.sqrt(x.shape[1])
        return (F.conv2d(x, p["w"] * s.reshape(1, -1, 1, 1)) + p["b"].reshape(1, -1, 1, 1)).clamp(-256, 256)
    def up(img):
        n, c, h, w = img.shape
        z = torch.zeros(n, c, h, 2, w, 2); z[:, :, :, 0, :, 0] = img
        return fir(z.reshape(n, c, 2 * h, 2 * w), (2, 1, 2, 1), 4)
    def forward(ws):
        x, img, j = const, None, 0
        for block in blocks:
            for p in block[:-1]:
                x = conv(x, p, ws[:, j]); j += 1
            y = torgb(x, block[-1], ws[:, j])
            img = y if img is None else up(img) + y
        return img
    return forward, 2 * len(blocks)

TASKS = {"g256": (256, 16384, False), "g256_grad": (256, 16384, True),
         "g1024": (1024, 32768, False), "g1024_grad": (1024, 32768, True)}

def run(task, rounds, threads):
    import torch
    torch.set_num_threads(threads)
    size, base, grad = TASKS[task]
    torch.manual_seed(0)
    forward, n = build(size, base)
    ws = torch.randn(1, n, 512)
    for k in range(rounds + 1):
        t, c = time.perf_counter(), time.process_time()
        if grad:
            w = ws.clone().requires_grad_()
            forward(w).square().mean().backward()
        else:
            with torch.no_grad():
                forward(ws)
        if k:
            print(json.dumps(dict(task=task, wall=time.perf_counter() - t, cpu=time.process_time() - c)), flush=True)

def compare(binary, rounds, threads):
    env = dict(os.environ, RAYON_NUM_THREADS=str(threads))
    results = {}
    for _ in range(rounds):
        for task in TASKS:
            if len(sys.argv) > 5 and task not in sys.argv[5:]: continue
            for side, command in [("burn", [binary, "2", task]), ("torch", [sys.executable, __file__, task, "2", str(threads)])]:
                out = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
                results.setdefault((task, side), []).extend(json.loads(l) for l in out.splitlines())
    print(f"threads {threads}; median (min), seconds")
    for task in TASKS:
        if (task, "burn") not in results: continue
        for kind in ["cpu", "wall"]:
            m = {s: [r[kind] for r in results[task, s]] for s in ["burn", "torch"]}
            b, t = statistics.median(m["burn"]), statistics.median(m["torch"])
            print(f"{task:11} {kind:4} burn {b:.3f} ({min(m['burn']):.3f})  torch {t:.3f} ({min(m['torch']):.3f})  ratio {b / t:.2f} ({min(m['burn']) / min(m['torch']):.2f})")

if sys.argv[1] == "compare":
    compare(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 1)
else:
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
