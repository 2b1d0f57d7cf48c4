"""Discrete VAEs in plain PyTorch: OpenAI's encoder and decoder (SPEC 4.1 to 4.3) and the small trainable one (4.5).

State-dict names: OpenAI's own (`blocks.group_1.block_1.res_path.conv_1.w`), and for the small one
`encoder.{down.N,res.N.conv_1..3,out}`, `codebook.weight`, `decoder.{input,res.N.conv_1..3,up.N,output}`.

Shapes: B batch, H and W pixels, h and w = H / 8 and W / 8, V codes, C codebook width.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

LOGIT_LAPLACE_EPS = 0.1


def map_pixels(x):
    return (1 - 2 * LOGIT_LAPLACE_EPS) * x + LOGIT_LAPLACE_EPS


def unmap_pixels(x):
    return ((x - LOGIT_LAPLACE_EPS) / (1 - 2 * LOGIT_LAPLACE_EPS)).clamp(0, 1)


class Conv(nn.Module):
    """OpenAI's convolution: stride 1, zero "same" padding, parameters called w and b."""

    def __init__(self, n_in, n_out, kernel):
        super().__init__()
        self.w = nn.Parameter(torch.randn(n_out, n_in, kernel, kernel) / math.sqrt(n_in * kernel ** 2))
        self.b = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        return F.conv2d(x, self.w, self.b, padding=(self.w.shape[-1] - 1) // 2)


class OpenAIBlock(nn.Module):
    def __init__(self, n_in, n_out, kernels, n_layers):
        super().__init__()
        h = n_out // 4
        sizes = [n_in, h, h, h, n_out]
        self.gain = 1 / n_layers ** 2
        self.id_path = Conv(n_in, n_out, 1) if n_in != n_out else nn.Identity()
        self.res_path = nn.ModuleDict({f"conv_{i + 1}": Conv(sizes[i], sizes[i + 1], k) for i, k in enumerate(kernels)})

    def forward(self, x):
        residual = x
        for conv in self.res_path.values():
            residual = conv(F.relu(residual))
        return self.id_path(x) + self.gain * residual


def openai_group(n_in, n_out, kernels, blocks, n_layers):
    return nn.ModuleDict({f"block_{i + 1}": OpenAIBlock(n_in if i == 0 else n_out, n_out, kernels, n_layers)
                          for i in range(blocks)})


class OpenAIEncoder(nn.Module):
    def __init__(self, hidden=256, blocks=2, vocab=8192):
        super().__init__()
        widths = [hidden, hidden, 2 * hidden, 4 * hidden, 8 * hidden]
        self.blocks = nn.ModuleDict({"input": Conv(3, hidden, 7)})
        for g in range(4):
            self.blocks[f"group_{g + 1}"] = openai_group(widths[g], widths[g + 1], (3, 3, 3, 1), blocks, 4 * blocks)
        self.blocks["output"] = nn.ModuleDict({"conv": Conv(widths[-1], vocab, 1)})

    def forward(self, x_B3HW):
        """Logits [B, V, h, w] of mapped pixels."""
        x = self.blocks["input"](x_B3HW)
        for g in range(1, 5):
            for block in self.blocks[f"group_{g}"].values():
                x = block(x)
            x = F.max_pool2d(x, 2) if g < 4 else x
        return self.blocks["output"]["conv"](F.relu(x))

    def tokens(self, pixels_B3HW):
        """Labels [B, h * w], row-major, of pixels in [0, 1]."""
        return self(map_pixels(pixels_B3HW)).argmax(1).flatten(1)


class OpenAIDecoder(nn.Module):
    def __init__(self, initial=128, hidden=256, blocks=2, vocab=8192):
        super().__init__()
        widths = [initial, 8 * hidden, 4 * hidden, 2 * hidden, hidden]
        self.blocks = nn.ModuleDict({"input": Conv(vocab, initial, 1)})
        for g in range(4):
            self.blocks[f"group_{g + 1}"] = openai_group(widths[g], widths[g + 1], (1, 3, 3, 3), blocks, 4 * blocks)
        self.blocks["output"] = nn.ModuleDict({"conv": Conv(hidden, 6, 1)})

    def forward(self, codes_BVhw):
        """[B, 6, H, W]: mean and ln b of a logit-Laplace."""
        x = self.blocks["input"](codes_BVhw)
        for g in range(1, 5):
            for block in self.blocks[f"group_{g}"].values():
                x = block(x)
            x = F.interpolate(x, scale_factor=2, mode="nearest") if g < 4 else x
        return self.blocks["output"]["conv"](F.relu(x))

    def reconstruct(self, codes_BVhw):
        return unmap_pixels(torch.sigmoid(self(codes_BVhw)[:, :3]))


# ---------------------------------------------------------------------------------------------- the small one

class ResBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv_1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_3 = nn.Conv2d(width, width, 1)

    def forward(self, x):
        return x + self.conv_3(F.relu(self.conv_2(F.relu(self.conv_1(x)))))


class SmallEncoder(nn.Module):
    def __init__(self, vocab, hidden, blocks):
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(3 if i == 0 else hidden, hidden, 4, stride=2, padding=1) for i in range(3))
        self.res = nn.ModuleList(ResBlock(hidden) for _ in range(blocks))
        self.out = nn.Conv2d(hidden, vocab, 1)

    def forward(self, x):
        for conv in self.down:
            x = F.relu(conv(x))
        for block in self.res:
            x = block(x)
        return self.out(x)


class SmallDecoder(nn.Module):
    def __init__(self, codebook, hidden, blocks):
        super().__init__()
        self.input = nn.Conv2d(codebook, hidden, 1)
        self.res = nn.ModuleList(ResBlock(hidden) for _ in range(blocks))
        self.up = nn.ModuleList(nn.ConvTranspose2d(hidden, hidden, 4, stride=2, padding=1) for _ in range(3))
        self.output = nn.Conv2d(hidden, 3, 1)

    def forward(self, x):
        x = self.input(x)
        for block in self.res:
            x = block(x)
        for conv in self.up:
            x = F.relu(conv(x))
        return self.output(x)


class SmallDvae(nn.Module):
    """Pixels enter as (x - 0.5) / 0.5; the decoder answers in the same units."""

    def __init__(self, vocab=8192, hidden=256, codebook=512, blocks=2):
        super().__init__()
        self.encoder = SmallEncoder(vocab, hidden, blocks)
        self.codebook = nn.Embedding(vocab, codebook)
        self.decoder = SmallDecoder(codebook, hidden, blocks)

    def tokens(self, pixels_B3HW):
        """Labels [B, h * w], row-major, of pixels in [0, 1]."""
        return self.encoder((pixels_B3HW - 0.5) / 0.5).argmax(1).flatten(1)

    def loss(self, pixels_B3HW, uniform_BVhw, temperature, kl_weight=1e-3):
        """Mean squared error plus `kl_weight` times the mean over positions of KL(q || uniform), in nats.

        `uniform_BVhw` in (1e-20, 1) makes the Gumbel noise -ln(-ln u)."""
        target = (pixels_B3HW - 0.5) / 0.5
        logits = self.encoder(target)
        gumbel = -torch.log(-torch.log(uniform_BVhw))
        soft_BVhw = ((logits + gumbel) / temperature).softmax(1)
        mixed_BChw = torch.einsum("bvhw,vc->bchw", soft_BVhw, self.codebook.weight)
        log_q = logits.log_softmax(1)
        kl = math.log(logits.shape[1]) + (log_q.exp() * log_q).sum(1)
        return F.mse_loss(self.decoder(mixed_BChw), target) + kl_weight * kl.mean()


def gumbel_temperature(step: int, start=1.0, end=0.5, rate=1e-4):
    """tau(step) = max(end, start * exp(-rate * step))."""
    return max(end, start * math.exp(-rate * step))
