"""Boxes of torchvision's RandomResizedCrop.get_params for recorded draws: fixtures/crops.json.

    pip install --no-deps torchvision && python make_crop_fixtures.py

Only get_params is used, so that a torchvision without its compiled part will do.
"""
import json
import sys
import types
from pathlib import Path

import torch

sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
from torchvision.transforms import RandomResizedCrop  # noqa: E402

SIZES = [(48, 48), (640, 480), (37, 211), (1, 1), (3, 1000), (1000, 3), (5, 4)]
RANGES = [((0.2, 1.0), (3 / 4, 4 / 3)), ((0.5, 1.0), (0.9, 1.0))]


def recorded(width, height, scale, ratio):
    """One box, and the draws that led to it: [low, high, value] of a uniform, [count, value] of an integer."""
    draws = []
    uniform, randint = torch.Tensor.uniform_, torch.randint

    def recording_uniform(tensor, low=0.0, high=1.0):
        result = uniform(tensor, low, high)
        draws.append([float(low), float(high), result.item()])
        return result

    def recording_randint(low, high, size):
        result = randint(low, high, size)
        draws.append([high, result.item()])
        return result

    torch.Tensor.uniform_, torch.randint = recording_uniform, recording_randint
    try:
        top, left, h, w = RandomResizedCrop.get_params(torch.zeros(3, height, width), list(scale), list(ratio))
    finally:
        torch.Tensor.uniform_, torch.randint = uniform, randint
    return {"width": width, "height": height, "scale": scale, "ratio": ratio, "draws": draws, "box": [left, top, w, h]}


def main():
    torch.manual_seed(0)
    rows = [recorded(w, h, scale, ratio) for w, h in SIZES for scale, ratio in RANGES for _ in range(4)]
    (Path(__file__).parent / "fixtures" / "crops.json").write_text(json.dumps(rows, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
