"""Pictures as the model sees them, and masks as files hold them."""

from __future__ import annotations

import numpy as np


def axis_weights(source: int, target: int) -> tuple[np.ndarray, int]:
    """Integer resampling weights `[target, source]` of one axis and their number of fraction bits."""
    scale = source / target
    support = max(scale, 1.0)
    rows = np.zeros((target, source))
    for i in range(target):
        centre = scale * (i + 0.5)
        low, high = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), source)
        at = np.arange(low, high)
        weights = np.maximum(0, 1 - np.abs((at - centre + 0.5) / support))
        rows[i, low:high] = weights / weights.sum()
    largest = rows.max()
    bits = next(p for p in range(23) if p == 22 or int(0.5 + largest * 2 ** (p + 1)) >= 2**15)
    return np.floor(0.5 + rows * 2**bits).astype(np.int64), bits


def resize(image: np.ndarray, side: int) -> np.ndarray:
    """Antialiased bilinear resize to a square, `[h, w, 3]` u8 -> `[side, side, 3]` u8.

    Two integer passes, horizontal first, each rounded to u8: bit for bit what the engine does.
    """
    height, width, _ = image.shape
    out = image.astype(np.int64)
    if width != side:
        weights, bits = axis_weights(width, side)
        out = round_bits(np.einsum("ow,hwc->hoc", weights, out), bits)
    if height != side:
        weights, bits = axis_weights(height, side)
        out = round_bits(np.einsum("oh,hwc->owc", weights, out), bits)
    return out.astype(np.uint8)


def round_bits(sums: np.ndarray, bits: int) -> np.ndarray:
    """Drops the fraction bits, rounding, and clamps to a byte."""
    return np.clip((sums + (1 << bits - 1)) >> bits, 0, 255)


def rle_counts(mask: np.ndarray) -> list[int]:
    """Run lengths of a mask `[h, w]`, column by column, zeros first."""
    flat = mask.astype(bool).ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *ends.tolist(), len(flat)]).tolist()
    return [0, *runs] if flat[0] else runs


def rle(mask: np.ndarray) -> dict:
    """A mask as COCO's compressed run-length encoding."""
    counts = rle_counts(mask)
    text = ""
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        while True:
            bits, value = value & 0x1F, value >> 5
            more = value != (-1 if bits & 0x10 else 0)
            text += chr(48 + (bits | 0x20 * more))
            if not more:
                break
    return {"size": list(mask.shape), "counts": text}
