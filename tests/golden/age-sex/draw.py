"""The square of a photo that networks trained with dlib's faces see."""
import numpy as np

# Corners of the eyes and the base of the nose in the mean face's unit square.
FACE = np.array([[0.12058, 0.21373], [0.33409, 0.22906], [0.64606, 0.22897], [0.85957, 0.21350], [0.49011, 0.62780]])


def chip(photo, landmarks, size, padding):
    """The square around a face: least squares, four bilinear samples per pixel and direction, Lanczos' filter."""
    left, right, nose, *mouth = np.array(landmarks)
    base = nose + 0.424 * (np.mean(mouth, axis=0) - nose)
    # x = x0 + a u - b v, y = y0 + b u + a v; each eye stands for both of its corners.
    eyes = (FACE[:2].mean(0), FACE[2:4].mean(0))
    rows, values = [], []
    for place, (u, v), weight in zip((left, right, base), (*eyes, FACE[4]), (2, 2, 1)):
        rows += [np.array([1, 0, u, -v]) * weight**0.5, np.array([0, 1, v, u]) * weight**0.5]
        values += list(place * weight**0.5)
    x0, y0, a, b = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    fine = 4 * size
    # Pixels 0 and size - 1 lie on the border of the square, which is wider than the mean face by the padding.
    pixel = (np.arange(fine) + 0.5) / 4 - 0.5
    u = pixel / (size - 1) * (1 + 2 * padding) - padding
    u, v = np.meshgrid(u, u)
    height, width, _ = photo.shape
    x = np.clip(x0 + a * u - b * v, 0, width - 1)
    y = np.clip(y0 + b * u + a * v, 0, height - 1)
    i, j = np.minimum(y.astype(int), height - 2), np.minimum(x.astype(int), width - 2)
    s, t = (y - i)[..., None], (x - j)[..., None]
    samples = (1 - s) * ((1 - t) * photo[i, j] + t * photo[i, j + 1])
    samples += s * ((1 - t) * photo[i + 1, j] + t * photo[i + 1, j + 1])
    distance = (np.arange(fine) + 0.5) / 4 - (np.arange(size)[:, None] + 0.5)
    filters = np.sinc(distance) * np.sinc(distance / 3) * (abs(distance) < 3)
    filters /= filters.sum(1, keepdims=True)
    drawn = np.einsum("ki,lj,ijc->klc", filters, filters, samples)
    inside = min(x.min(), y.min()) > 0 and x.max() < width - 1 and y.max() < height - 1
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8), bool(inside)
