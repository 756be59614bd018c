"""The square of a face drawn by Pillow: QUAD transform with bilinear samples, then Lanczos.

usage: make.py   (Pillow 13.0.0, numpy 2.4.6)

The picture is ORL's s20_01 on a larger ground, tinted, so that the square lies inside.
"""
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

here = Path(__file__).parent
face = Image.open(here / "../../../examples/data/orl/s20_01.png")
y, x = np.mgrid[0:260, 0:240]
ground = Image.fromarray(np.stack([x, y * 0.9, 255 - x], -1).astype(np.uint8))
tinted = ImageOps.colorize(face.rotate(9, resample=Image.BICUBIC, fillcolor=110), "#140a06", "#ffe6d0")
ground.paste(tinted, (80, 74))
ground.save(here / "photo.png", optimize=True)

points = {"left_eye": [107, 122], "right_eye": [140, 117], "mouth_left": [115, 157], "mouth_right": [141, 153]}
p = {k: np.array(v, float) for k, v in points.items()}
eyes = p["right_eye"] - p["left_eye"]
between = (p["left_eye"] + p["right_eye"]) / 2
down = (p["mouth_left"] + p["mouth_right"]) / 2 - between
across = eyes + np.array([down[1], -down[0]])
across *= max(2 * np.hypot(*eyes), 1.8 * np.hypot(*down)) / np.hypot(*across)
below = np.array([-across[1], across[0]])
center = between + 0.1 * down
quad = [center - across - below, center - across + below, center + across + below, center + across - below]
size = 64
corners = (np.array(quad) + 0.5).ravel().tolist()
fine = ground.transform((4 * size, 4 * size), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
fine.resize((size, size), Image.Resampling.LANCZOS).save(here / "face.png", optimize=True)
(here / "case.json").write_text(json.dumps({
    "landmarks": [points["left_eye"], points["right_eye"], [125, 138], points["mouth_left"], points["mouth_right"]],
    "quad": [q.tolist() for q in quad],
}))
