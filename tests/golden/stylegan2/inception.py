"""Features of Inception-v3 with weights from a formula, by pytorch-fid.

Needs torch, torchvision and pytorch-fid; writes inception.safetensors, inception_keys.json and state_dict_{zip,legacy}.pth.
"""

import struct
import json

import numpy as np
import torch
import torchvision
from pytorch_fid import inception


def numbers(name, count):
    """The same in the test: in [-1, 1], from the name and the position."""
    seed = np.uint32(2166136261)
    with np.errstate(over="ignore"):
        for byte in name.encode():
            seed = (seed ^ np.uint32(byte)) * np.uint32(16777619)
        x = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + seed
        for shift, factor in [(16, 0x7FEB352D), (15, 0x846CA68B)]:
            x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
        x ^= x >> np.uint32(16)
    return (x.astype(np.float64) / 2147483648.0 - 1.0).astype(np.float32)


def formula(name, shape):
    u = numbers(name, int(np.prod(shape))).reshape(shape)
    if name.endswith("conv.weight"):
        return u * np.float32(np.sqrt(6.0 / np.prod(shape[1:])))
    if name.endswith("bn.weight"):
        return 1 + np.float32(0.2) * u
    if name.endswith("running_var"):
        return 1 + np.float32(0.5) * u
    return np.float32(0.1) * u


model = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False)
inception._inception_v3 = lambda *a, **k: model
inception.load_state_dict_from_url = lambda *a, **k: {
    name: torch.zeros((), dtype=torch.long)
    if value.dtype == torch.long
    else torch.from_numpy(formula(name, tuple(value.shape)))
    for name, value in model.state_dict().items()
}
torch.set_num_threads(1)
net = inception.InceptionV3([3]).eval()
out = {}
for name, shape in [("small", (2, 3, 40, 64)), ("large", (1, 3, 310, 299))]:
    images = torch.from_numpy(numbers(name, int(np.prod(shape))).reshape(shape))
    with torch.no_grad():
        out[name] = net(images / 2 + 0.5)[0].squeeze(-1).squeeze(-1).numpy()
        print(name, out[name].shape, out[name].mean(), out[name].std())

header, data = {"__metadata__": {"torch": torch.__version__, "torchvision": torchvision.__version__}}, b""
for name, values in out.items():
    raw = values.astype("<f4").tobytes()
    header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open("inception.safetensors", "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + data)

shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
with open("inception_keys.json", "w") as f:
    f.write(json.dumps(shapes, separators=(",", ":")) + "\n")

small = torch.nn.Sequential(torch.nn.Conv2d(2, 3, (1, 2)), torch.nn.BatchNorm2d(3))
with torch.no_grad():
    for k, value in enumerate(small.state_dict().values()):
        if value.dtype != torch.long:
            value.copy_((torch.arange(value.numel()) + 10.0 * k).reshape(value.shape))
torch.save(small.state_dict(), "state_dict_zip.pth")
torch.save(small.state_dict(), "state_dict_legacy.pth", _use_new_zipfile_serialization=False)
