"""Makes fixtures/attention.*: attention maps of a small image tower (SPEC 9) by plain PyTorch in float64.

    venv/bin/python test/reference/make_attention_fixtures.py

Relevancy follows Chefer et al. 2021 as their CLIP notebook has it, for a tower that pools by its class token: R starts as the identity, and each layer from `start` on adds
mean over heads of max(gradient of the score by the attention * attention, 0) times R; the map is the row of CLS without its own column. For one that pools by the mean of its patches it is the mean of their rows.
"""
import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from cots_reference import Config, Model, TowerConfig

HERE = Path(__file__).parent / "fixtures"
SIZE, PATCH = 32, 8


class Watched(torch.nn.Module):
    """A block whose attention is written out, and kept."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x_BLd, key_mask=None):
        b, (B, L, d) = self.block, x_BLd.shape
        q, k, v = b.qkv(b.ln1(x_BLd)).view(B, L, 3, b.heads, d // b.heads).permute(2, 0, 3, 1, 4)
        self.probabilities = (q @ k.transpose(-1, -2) / math.sqrt(d // b.heads)).softmax(-1)
        if self.probabilities.requires_grad:
            self.probabilities.retain_grad()
        x_BLd = x_BLd + b.proj((self.probabilities @ v).transpose(1, 2).reshape(B, L, d))
        return x_BLd + b.feed_forward(b.ln2(x_BLd))


def unit_range(map_P):
    return (map_P - map_P.min()) / (map_P.max() - map_P.min())


def pooled_row(matrix_LL, pool):
    return matrix_LL[0, 1:] if pool == "cls" else matrix_LL[1:, 1:].mean(0)


def relevancy(blocks, start, pool):
    R = torch.eye(blocks[0].probabilities.shape[-1], dtype=torch.float64)
    for block in blocks[start:]:
        raising = (block.probabilities.grad * block.probabilities).clamp(min=0)[0].mean(0)
        R = R + raising.detach() @ R
    return pooled_row(R, pool)


def main():
    torch.manual_seed(3)
    cfg = Config(image=TowerConfig(32, 3, 2, 2.0), text=TowerConfig(32, 1, 2, 2.0), image_size=SIZE, patch=PATCH, vocab=20,
                 max_positions=8, visual_vocab=16, embed_dim=16)
    vision = Model(cfg).visual.double().eval()
    with torch.no_grad():
        for parameter in vision.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.25)
            parameter.copy_(parameter.float())  # what the file holds
    vision.blocks = torch.nn.ModuleList(Watched(block) for block in vision.blocks)
    image = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8))
    text = torch.nn.functional.normalize(torch.randn(16), dim=0)

    pixels = ((image.double() / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)
    maps, scores = {}, {}
    for pool in ("cls", "mean"):
        vision.pool = pool
        hidden = vision.hidden(pixels)
        score = vision.embedding(hidden)[0] @ text.double()
        score.backward()
        patches = torch.nn.functional.normalize(vision.proj(hidden[0, 1:]), dim=-1) @ text.double()
        maps |= {f"{pool}_relevancy_{start}": relevancy(vision.blocks, start, pool) for start in range(3)}
        maps |= {f"{pool}_patch_sim": patches,
                 f"{pool}_dino": pooled_row(vision.blocks[2].probabilities[0].mean(0), pool)}
        scores[pool] = score.item()

    weights = {f"visual.{name.replace('.block.', '.')}": value.float().contiguous() for name, value in vision.state_dict().items()}
    save_file(weights, HERE / "attention-weights.safetensors")
    save_file({"image": image, "text": text} | {name: unit_range(m).detach().float() for name, m in maps.items()},
              HERE / "attention.safetensors")
    (HERE / "attention.json").write_text(json.dumps({"scores": scores, "size": SIZE, "patch": PATCH}, indent=1) + "\n")


main()
