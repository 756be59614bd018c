"""Makes the pictures of this folder and expected.json.

usage: make.py   (Pillow 13.0.0, numpy 2.4.6)
"""
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

here = Path(__file__).parent
h, w = 16, 24
y, x = np.mgrid[0:h, 0:w]
rgb = np.stack([x * 10, y * 15, 255 - x * 5], -1).astype(np.uint8)
picture = Image.fromarray(rgb)
other = Image.fromarray(255 - rgb)

picture.save(here / "colour.jpg", quality=95, subsampling=0)
picture.save(here / "progressive.jpg", quality=95, subsampling=0, progressive=True)
cmyk = np.stack([255 - rgb[..., 0], 255 - rgb[..., 1], 255 - rgb[..., 2], x * 4], -1).astype(np.uint8)
Image.fromarray(cmyk, "CMYK").save(here / "cmyk.jpg", quality=95, subsampling=0)
for k in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = k
    picture.save(here / f"exif{k}.jpg", quality=95, subsampling=0, exif=exif)
for name in ("animated.gif", "animated.webp", "animated.png"):
    picture.save(here / name, save_all=True, append_images=[other], duration=100)
picture.save(here / "still.gif")
picture.save(here / "lossy.webp", quality=95)
rgba = np.dstack([rgb, (x * 11).clip(0, 255)]).astype(np.uint8)
Image.fromarray(rgba, "RGBA").save(here / "alpha.png")
Image.fromarray((x * 2000 + y).astype(np.uint16)).save(here / "gray16.png")
picture.save(here / "lzw.tif", compression="tiff_lzw")
Image.fromarray(rgb[..., 0]).save(here / "gray.bmp")

# What Pillow decodes, at three places (x, y), upright.
places = [(1, 2), (12, 9), (22, 13)]
expected = {}
for path in sorted(here.iterdir()):
    if path.suffix in (".py", ".json", ".md") or path.name.startswith("animated"):
        continue
    im = ImageOps.exif_transpose(Image.open(path))
    if path.name == "alpha.png":
        white = Image.new("RGBA", im.size, "white")
        im = Image.alpha_composite(white, im)
    if path.name == "gray16.png":
        im = Image.fromarray((np.asarray(im).astype(float) / 257).round().astype(np.uint8))
    im = im.convert("RGB")
    expected[path.name] = {
        "size": list(im.size),
        "pixels": [[*p, *im.getpixel(p)] for p in places if p[0] < im.width and p[1] < im.height],
    }
(here / "expected.json").write_text(json.dumps(expected))
