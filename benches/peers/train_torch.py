"""Steps of a StyleGAN2 training in PyTorch, and alternating rounds against the Rust bench.

usage: train_torch.py SIDE BATCH BASE MAX ITERATIONS [THREADS]     one side, JSON lines
       train_torch.py compare BENCH_BINARY ROUNDS THREADS SIDE BATCH BASE MAX ITERATIONS

Written from the published equations (Karras et al. 2020, "Analyzing and improving the image quality of
StyleGAN", and "Training generative adversarial networks with limited data", without augmentation); weights and
pictures are random, for time only. Two mapping layers, residual discriminator, skip generator, style mixing 0.9,
minibatch standard deviation in groups of 4, R1 and path length through second derivatives (`create_graph`), Adam,
a moving average of the generator. Every second iteration has the path-length penalty and every third R1; the first has
both and is not counted.
"""
import json, math, os, resource, statistics, subprocess, sys, time


def networks(side, base, most):
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
    maps = lambda r: min(base // r, most)
    taps = torch.tensor([1., 3., 3., 1.])
    taps = torch.outer(taps, taps) / 64
    act = lambda x: (F.leaky_relu(x, 0.2) * math.sqrt(2)).clamp(-256, 256)

    def fir(x, pad, gain=1, stride=1):
        c = x.shape[1]
        return F.conv2d(F.pad(x, pad), (taps * gain).expand(c, 1, 4, 4), groups=c, stride=stride)

    def upsample(x):
        n, c, h, w = x.shape
        z = torch.stack([x, torch.zeros_like(x)], -1).reshape(n, c, h, 2 * w)
        z = torch.stack([z, torch.zeros_like(z)], 3).reshape(n, c, 2 * h, 2 * w)
        return fir(z, (2, 1, 2, 1), 4)

    class Dense(nn.Module):
        def __init__(self, i, o, rate=1.0, bias=0.0):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(o, i) / rate)
            self.bias = nn.Parameter(torch.full((o,), bias / rate))
            self.gain, self.rate = rate / math.sqrt(i), rate

        def forward(self, x):
            return F.linear(x, self.weight * self.gain, self.bias * self.rate)

    class Styled(nn.Module):
        """Modulated 3x3 convolution, noise, bias, activation."""

        def __init__(self, i, o, up):
            super().__init__()
            self.style = Dense(512, i, bias=1.0)
            self.weight = nn.Parameter(torch.randn(o, i, 3, 3))
            self.bias = nn.Parameter(torch.zeros(o))
            self.strength = nn.Parameter(torch.zeros([]))
            self.up = up

        def forward(self, x, w):
            s = self.style(w)
            norm = (torch.einsum("oikl,ni->no", self.weight.square(), s.square()) + 1e-8).rsqrt()
            x = x * s[:, :, None, None]
            if self.up:
                x = fir(F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2), (1, 1, 1, 1), 4)
            else:
                x = F.conv2d(x, self.weight, padding=1)
            x = x * norm[:, :, None, None]
            noise = torch.randn(x.shape[0], 1, *x.shape[2:])
            return act(x + noise * self.strength + self.bias[:, None, None])

    class ToRgb(nn.Module):
        def __init__(self, i):
            super().__init__()
            self.style = Dense(512, i, bias=1.0)
            self.weight = nn.Parameter(torch.randn(3, i, 1, 1))
            self.bias = nn.Parameter(torch.zeros(3))
            self.gain = 1 / math.sqrt(i)

        def forward(self, x, w):
            x = F.conv2d(x * (self.style(w) * self.gain)[:, :, None, None], self.weight)
            return (x + self.bias[:, None, None]).clamp(-256, 256)

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.mapping = nn.ModuleList([Dense(512, 512, 0.01) for _ in range(2)])
            self.const = nn.Parameter(torch.randn(1, maps(4), 4, 4))
            self.layers, self.rgbs, r = nn.ModuleList(), nn.ModuleList(), 4
            while r <= side:
                if r > 4:
                    self.layers.append(Styled(maps(r // 2), maps(r), True))
                self.layers.append(Styled(maps(r), maps(r), False))
                self.rgbs.append(ToRgb(maps(r)))
                r *= 2
            self.rows = len(self.layers) + 1

        def map(self, z):
            x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
            for layer in self.mapping:
                x = act(layer(x))
            return x

        def styles(self, n):
            ws = self.map(torch.randn(n, 512))[:, None].repeat(1, self.rows, 1)
            if torch.rand([]) < 0.9:
                cut = int(torch.randint(1, self.rows, []))
                ws = torch.cat([ws[:, :cut], self.map(torch.randn(n, 512))[:, None].repeat(1, self.rows - cut, 1)], 1)
            return ws

        def forward(self, ws):
            x = self.const.repeat(len(ws), 1, 1, 1)
            x = self.layers[0](x, ws[:, 0])
            image, j = self.rgbs[0](x, ws[:, 1]), 1
            for k, rgb in enumerate(self.rgbs[1:]):
                x = self.layers[1 + 2 * k](x, ws[:, j])
                x = self.layers[2 + 2 * k](x, ws[:, j + 1])
                j += 2
                image = upsample(image) + rgb(x, ws[:, j])
            return image

    class Conv(nn.Module):
        def __init__(self, i, o, side, bias=True, down=False, gain=1.0):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(o, i, side, side))
            self.bias = nn.Parameter(torch.zeros(o)) if bias else None
            self.scale, self.down, self.side, self.gain = 1 / math.sqrt(i * side * side), down, side, gain

        def forward(self, x):
            w = self.weight * self.scale
            if self.down and self.side == 1:
                x = F.conv2d(fir(x, (1, 1, 1, 1), stride=2), w)
            elif self.down:
                x = F.conv2d(fir(x, (2, 2, 2, 2)), w, stride=2)
            else:
                x = F.conv2d(x, w, padding=self.side // 2)
            if self.bias is not None:
                x = act(x + self.bias[:, None, None])
            return x * self.gain

    class Discriminator(nn.Module):
        def __init__(self):
            super().__init__()
            self.rgb, self.blocks, r = Conv(3, maps(side), 1), nn.ModuleList(), side
            half = math.sqrt(0.5)
            while r > 4:
                i, o = maps(r), maps(r // 2)
                self.blocks.append(nn.ModuleList([Conv(i, o, 1, False, True, half), Conv(i, i, 3), Conv(i, o, 3, True, True, half)]))
                r //= 2
            self.conv = Conv(maps(4) + 1, maps(4), 3)
            self.dense, self.out = Dense(maps(4) * 16, maps(4)), Dense(maps(4), 1)

        def forward(self, x):
            x = self.rgb(x)
            for skip, first, second in self.blocks:
                x = skip(x) + second(first(x))
            n, c, h, w = x.shape
            group = min(4, n)
            y = x.reshape(group, n // group, c, h, w)
            y = ((y - y.mean(0)).square().mean(0) + 1e-8).sqrt().mean([1, 2, 3])
            x = torch.cat([x, y.repeat(group)[:, None, None, None].expand(n, 1, h, w)], 1)
            return self.out(act(self.dense(self.conv(x).flatten(1))))

    return Generator(), Discriminator()


def run(side, batch, base, most, iterations, threads):
    import copy
    import torch
    import torch.nn.functional as F
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    g, d = networks(side, base, most)
    average = copy.deepcopy(g).requires_grad_(False)
    adam = lambda m, k: torch.optim.Adam(m.parameters(), lr=0.0025 * k / (k + 1), betas=(0.0, 0.99 ** (k / (k + 1))))
    of_g, of_d, length = adam(g, 2), adam(d, 3), torch.zeros([])
    real = torch.rand(batch, 3, side, side) * 2 - 1
    for k in range(iterations):
        wall, cpu = time.perf_counter(), time.process_time()
        g.requires_grad_(True), d.requires_grad_(False)
        loss = F.softplus(-d(g(g.styles(batch)))).mean()
        of_g.zero_grad(), loss.backward(), of_g.step()
        if k % 2 == 0:
            ws = g.styles(max(batch // 2, 1))
            image = g(ws)
            noise = torch.randn_like(image) / side
            slope, = torch.autograd.grad((image * noise).sum(), ws, create_graph=True)
            lengths = slope.square().sum(2).mean(1).sqrt()
            mean = length + 0.01 * (lengths.mean() - length)
            length = mean.detach()
            of_g.zero_grad(), ((lengths - mean).square().mean() * 2 * 2).backward(), of_g.step()
        g.requires_grad_(False), d.requires_grad_(True)
        of_d.zero_grad()
        with torch.no_grad():
            fake = g(g.styles(batch))
        F.softplus(d(fake)).mean().backward()
        F.softplus(-d(real)).mean().backward()
        of_d.step()
        if k % 3 == 0:
            x = real.clone().requires_grad_()
            slope, = torch.autograd.grad(d(x).sum(), x, create_graph=True)
            of_d.zero_grad(), (slope.square().sum([1, 2, 3]).mean() * 0.5 * 3).backward(), of_d.step()
        with torch.no_grad():
            for a, b in zip(average.parameters(), g.parameters()):
                a.lerp_(b, 0.01)
        if k:
            kind = {(1, 0): "path", (0, 1): "r1", (1, 1): "both"}.get((int(k % 2 == 0), int(k % 3 == 0)), "main")
            line = dict(kind=kind, wall=time.perf_counter() - wall, cpu=time.process_time() - cpu,
                        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, loss=float(loss.detach()))
            print(json.dumps(line), flush=True)


def compare(binary, rounds, threads, shape):
    env = dict(os.environ, RAYON_NUM_THREADS=str(threads))
    results = {"burn": {}, "torch": {}}
    for _ in range(rounds):
        for side, command in [("burn", [binary, "step", *shape]), ("torch", [sys.executable, __file__, *shape, str(threads)])]:
            out = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
            for line in (json.loads(l) for l in out.splitlines() if l.startswith("{")):
                results[side].setdefault(line["kind"], []).append(line)
    batch = int(shape[1])
    print(f"{shape[0]} px, batch {batch}, {threads} threads, {rounds} rounds; medians")
    total = {}
    for side, kinds in results.items():
        for unit in ["cpu", "wall"]:
            m = {k: statistics.median(l[unit] for l in lines) for k, lines in kinds.items()}
            path, r1 = m["path"] - m["main"], m["r1"] - m["main"]
            kimg = (m["main"] + path / 4 + r1 / 16) * 1000 / batch
            total[side, unit] = kimg
            print(f"{side:5} {unit:4} main {m['main']:.3f} s, path length {path:.3f} s, R1 {r1:.3f} s; {kimg:.1f} s/kimg")
        peaks = {k: max(l["peak_mb"] for l in lines) for k, lines in kinds.items()}
        print(f"{side:5} peak of resident memory, MB: {peaks}")
    print("ratio " + ", ".join(f"{u} {total['burn', u] / total['torch', u]:.2f}" for u in ["cpu", "wall"]))


if sys.argv[1] == "compare":
    compare(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:10])
else:
    numbers = [int(a) for a in sys.argv[1:]]
    run(*numbers[:5], numbers[5] if len(numbers) > 5 else 1)
