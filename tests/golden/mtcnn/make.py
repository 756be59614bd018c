"""Faces as facenet-pytorch finds them; also makes the synthetic pictures.

usage: make.py   (facenet-pytorch 2.6.0, torch 2.8.0, Pillow 13.0.0, numpy 2.4.6)
"""
import json
from pathlib import Path

import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image, ImageOps

here = Path(__file__).parent
orl = here / "../../../examples/data/orl"
torch.set_num_threads(1)


def face(name):
    return Image.open(orl / f"{name}.png")


# Two faces of unlike size and tint, one tilted, on waves of colour.
y, x = np.mgrid[0:200, 0:310]
waves = np.stack([128 + 60 * np.sin(x / 9 + y / 31), 90 + y / 2, 200 - x / 3], -1)
pair = Image.fromarray(waves.astype(np.uint8))
large = ImageOps.colorize(face("s05_01").resize((138, 168), Image.BICUBIC), "#100804", "#ffe0c8")
pair.paste(large, (12, 20))
pair.paste(face("s12_02").rotate(14, resample=Image.BICUBIC, fillcolor=90).convert("RGB"), (190, 70))
pair.save(here / "pair.png", optimize=True)
# A face that the picture's border cuts.
cut = Image.new("RGB", (120, 150), (40, 90, 60))
cut.paste(face("s20_01").resize((115, 140), Image.BICUBIC), (-22, -24))
cut.save(here / "cut.png", optimize=True)

names = ["s01_01", "s03_04", "s10_07", "s17_02", "s28_05", "s40_10"]
pictures = {f"examples/data/orl/{n}.png": face(n) for n in names}
pictures |= {f"tests/golden/mtcnn/{n}.png": Image.open(here / f"{n}.png") for n in ("pair", "cut")}
mtcnn = MTCNN(keep_all=True)
found = {}
for name, picture in pictures.items():
    boxes, probabilities, landmarks = mtcnn.detect(picture.convert("RGB"), landmarks=True)
    found[name] = [
        {"bounds": b.tolist(), "probability": float(p), "landmarks": l.tolist()}
        for b, p, l in zip(boxes, probabilities, landmarks)
    ]
    print(name, len(boxes), probabilities)
(here / "faces.json").write_text(json.dumps(found, indent=1))
