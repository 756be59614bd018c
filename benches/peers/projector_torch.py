"""A step of the published projector in PyTorch, and alternating rounds against the Rust bench.

usage: projector_torch.py TASK STEPS [THREADS]     one side, JSON lines
       projector_torch.py compare BENCH_BINARY ROUNDS [THREADS] [TASK ...]

TASK is alexnet or vgg16: 256 px, `channel_base` 16384, at most 512 maps (the published network of FFHQ at
256 px), LPIPS with that trunk; random weights on both sides, for time only. Written from the published
equations (Karras et al. 2020, section 5 and appendix D; Zhang et al. 2018). A step: synthesis, LPIPS to a
picture whose features are known, the penalty of the noise images, gradients to w and the noise images,
Adam, and the noise images brought back to mean 0 and mean square 1.
"""
import json, math, os, statistics, subprocess, sys, time

TASKS = ["alexnet", "vgg16"]
ALEX = [(3, 64, 11, 4, 2), "tap", "pool3", (64, 192, 5, 1, 2), "tap", "pool3", (192, 384, 3, 1, 1), "tap",
        (384, 256, 3, 1, 1), "tap", (256, 256, 3, 1, 1), "tap"]
VGG = []
for last, width, count in [(3, 64, 2), (64, 128, 2), (128, 256, 3), (256, 512, 3), (512, 512, 3)]:
    VGG += [(last if k == 0 else width, width, 3, 1, 1) for k in range(count)] + ["tap", "pool2"]
VGG = VGG[:-1]


def build(size, base):
    import torch
    import torch.nn.functional as F
    ch = lambda r: min(base // r, 512)
    k = torch.tensor([1., 3., 3., 1.])
    k = torch.outer(k, k) / 64

    def layer(i, o, r, up):
        return dict(a=torch.randn(i, 512) / math.sqrt(512), w=torch.randn(o, i, 3, 3), b=torch.zeros(o), up=up, r=r)

    def rgb(i):
        return dict(a=torch.randn(i, 512) / math.sqrt(512), w=torch.randn(3, i, 1, 1), b=torch.zeros(3))

    const, blocks, r = torch.randn(1, ch(4), 4, 4), [], 4
    while r <= size:
        i = ch(max(r // 2, 4))
        blocks.append(([layer(i, ch(r), r, True)] if r > 4 else []) + [layer(ch(r), ch(r), r, False), rgb(ch(r))])
        r *= 2
    sides = [p["r"] for block in blocks for p in block[:-1]]

    def fir(x, pad, gain):
        c = x.shape[1]
        return F.conv2d(F.pad(x, pad), (k * gain).expand(c, 1, 4, 4), groups=c)

    def conv(x, p, w, noise):
        u = p["w"] * (w @ p["a"].T + 1).reshape(1, -1, 1, 1)
        u = u * (u.square().sum([1, 2, 3], keepdim=True) + 1e-8).rsqrt()
        if p["up"]:
            x = fir(F.conv_transpose2d(x, u.transpose(0, 1), stride=2), (1, 1, 1, 1), 4)
        else:
            x = F.conv2d(x, u, padding=1)
        x = x + noise * 0.1 + p["b"].reshape(1, -1, 1, 1)
        return (F.leaky_relu(x, 0.2) * math.sqrt(2)).clamp(-256, 256)

    def torgb(x, p, w):
        s = (w @ p["a"].T + 1) / math.sqrt(x.shape[1])
        return (F.conv2d(x, p["w"] * s.reshape(1, -1, 1, 1)) + p["b"].reshape(1, -1, 1, 1)).clamp(-256, 256)

    def up(img):
        n, c, h, w = img.shape
        z = torch.zeros(n, c, h, 2, w, 2)
        z[:, :, :, 0, :, 0] = img
        return fir(z.reshape(n, c, 2 * h, 2 * w), (2, 1, 2, 1), 4)

    def forward(w, noise):
        x, img, j = const, None, 0
        for block in blocks:
            for p in block[:-1]:
                x = conv(x, p, w, noise[j])
                j += 1
            y = torgb(x, block[-1], w)
            img = y if img is None else up(img) + y
        return img

    return forward, sides


def lpips(plan):
    import torch
    import torch.nn.functional as F
    convs, heads = [], []
    for step in plan:
        if isinstance(step, tuple):
            i, o, side, _, _ = step
            convs.append((torch.randn(o, i, side, side) * math.sqrt(2 / (i * side * side)), torch.zeros(o)))
            width = o
        elif step == "tap":
            heads.append(torch.full((1, width, 1, 1), 0.5))
    row = lambda v: torch.tensor(v).reshape(1, 3, 1, 1)
    shift, scale = row([-.030, -.088, -.188]), row([.458, .448, .450])

    def features(x):
        x, out, k = (x - shift) / scale, [], 0
        for step in plan:
            if step == "tap":
                out.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
            elif isinstance(step, str):
                x = F.max_pool2d(x, int(step[-1]), 2)
            else:
                x = F.relu(F.conv2d(x, *convs[k], stride=step[3], padding=step[4]))
                k += 1
        return out

    return features, lambda a, b: sum(((x - y).square() * h).sum(1).mean() for x, y, h in zip(a, b, heads))


def penalty(noise):
    import torch.nn.functional as F
    total = 0
    for n in noise:
        n = n[None, None]
        while True:
            total = total + (n * n.roll(1, 3)).mean() ** 2 + (n * n.roll(1, 2)).mean() ** 2
            if n.shape[2] <= 8:
                break
            n = F.avg_pool2d(n, 2)
    return total


def run(task, steps, threads):
    import torch
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    forward, sides = build(256, 16384)
    features, distance = lpips({"alexnet": ALEX, "vgg16": VGG}[task])
    with torch.no_grad():
        target = features(torch.rand(1, 3, 256, 256) * 2 - 1)
    w = torch.randn(1, 512).requires_grad_()
    noise = [torch.randn(r, r).requires_grad_() for r in sides]
    adam = torch.optim.Adam([w, *noise], betas=(0.9, 0.999), lr=0.01)
    for step in range(steps + 1):
        t, c = time.perf_counter(), time.process_time()
        image = forward(w + torch.randn(1, 512) * 0.05, noise)
        loss = distance(features(image), target) + 1e5 * penalty(noise)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        with torch.no_grad():
            for n in noise:
                n -= n.mean()
                n *= n.square().mean().rsqrt()
        if step:
            line = dict(task=task, wall=time.perf_counter() - t, cpu=time.process_time() - c, loss=float(loss.detach()))
            print(json.dumps(line), flush=True)


def compare(binary, rounds, threads, tasks):
    env = dict(os.environ, RAYON_NUM_THREADS=str(threads))
    results = {}
    for _ in range(rounds):
        for task in tasks:
            for side, command in [("burn", [binary, "step", "3", task]),
                                  ("torch", [sys.executable, __file__, task, "3", str(threads)])]:
                out = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
                lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
                results.setdefault((task, side), []).extend(lines)
    print(f"threads {threads}, {rounds} rounds of 3 steps; median (least), seconds a step")
    for task in tasks:
        for kind in ["cpu", "wall"]:
            b, t = ([r[kind] for r in results[task, side]] for side in ["burn", "torch"])
            print(f"{task:8} {kind:4} burn {statistics.median(b):.3f} ({min(b):.3f})  "
                  f"torch {statistics.median(t):.3f} ({min(t):.3f})  ratio {statistics.median(b) / statistics.median(t):.2f}")


if sys.argv[1] == "compare":
    numbers = [a for a in sys.argv[3:] if a.isdigit()]
    names = [a for a in sys.argv[3:] if a in TASKS]
    compare(sys.argv[2], int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 1, names or TASKS)
else:
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
