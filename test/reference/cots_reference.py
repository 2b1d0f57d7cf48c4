"""COTS in plain PyTorch: the independent truth that the native engine is compared with.

Written for reading, not for speed. State-dict names are the engine's own (`visual.blocks.0.qkv.weight`).
Everything random (masks, word corruption, batch order) is an argument, so that a fixture can fix it.

Shapes: B batch, N frames of all pairs (an image is one), L tokens, P patches (grid * grid), S = 1 + P, d width, D embedding, n queue entries,
K = 1 + n logits a row (entry 0 is the positive), V vocabulary, M masked positions of the whole batch.
"""
import copy
import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class TowerConfig:
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0


@dataclass
class Config:
    image: TowerConfig = field(default_factory=TowerConfig)
    text: TowerConfig = field(default_factory=TowerConfig)
    image_size: int = 384
    patch: int = 16
    vocab: int = 30522
    max_positions: int = 512
    visual_vocab: int = 8192
    embed_dim: int = 256
    pool: str = "cls"                    # cls | mean (image: patches; text: non-padding tokens)
    pad_id: int = 0
    image_eps: float = 1e-6
    text_eps: float = 1e-12
    tau: float = 0.05
    tau_learnable: bool = False
    queue_size: int = 12800
    include_batch_keys: bool = False
    ema_m: float = 0.99
    weight_inst: float = 1.0
    weight_task: float = 1.0
    weight_cmvm: float = 1.0
    weight_cmlm: float = 1.0
    task_include_positive: bool = True
    task_stopgrad: str = "none"          # none | target
    task_warmup_steps: int = 0
    amf: bool = True
    amf_k: float = 2.0
    amf_min_valid: int | None = None     # None: the queue's size
    lr: float = 1e-4
    lr_start: float = 1e-5
    lr_end: float = 1e-5
    warmup_steps: int = 2000
    total_steps: int = 10000
    weight_decay: float = 0.02
    betas: tuple = (0.9, 0.999)
    adam_eps: float = 1e-8
    clip_grad: float = 3.0
    layer_decay: float = 1.0

    @property
    def grid(self):
        return self.image_size // self.patch


# ---------------------------------------------------------------------------------------------- towers

class Block(nn.Module):
    """One transformer layer; `post_norm` is BERT's order, else ViT's."""

    def __init__(self, cfg: TowerConfig, eps: float, post_norm: bool):
        super().__init__()
        d, hidden = cfg.width, int(cfg.width * cfg.mlp_ratio)
        self.heads, self.post_norm = cfg.heads, post_norm
        self.ln1, self.ln2 = nn.LayerNorm(d, eps=eps), nn.LayerNorm(d, eps=eps)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc1, self.fc2 = nn.Linear(d, hidden), nn.Linear(hidden, d)

    def attention(self, x_BLd, key_mask):
        B, L, d = x_BLd.shape
        q, k, v = self.qkv(x_BLd).view(B, L, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask)
        return self.proj(out.transpose(1, 2).reshape(B, L, d))

    def feed_forward(self, x_BLd):
        return self.fc2(F.gelu(self.fc1(x_BLd)))

    def forward(self, x_BLd, key_mask=None):
        if self.post_norm:
            x_BLd = self.ln1(x_BLd + self.attention(x_BLd, key_mask))
            return self.ln2(x_BLd + self.feed_forward(x_BLd))
        x_BLd = x_BLd + self.attention(self.ln1(x_BLd), key_mask)
        return x_BLd + self.feed_forward(self.ln2(x_BLd))


class Vision(nn.Module):
    """ViT: pre-LN, CLS, absolute positions. Masked patches become `mask_token` before positions are added."""

    def __init__(self, cfg: Config):
        super().__init__()
        d = cfg.image.width
        self.pool = cfg.pool
        self.cls_token = nn.Parameter(torch.zeros(1, 1, d))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, d))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + cfg.grid ** 2, d))
        self.patch = nn.Conv2d(3, d, cfg.patch, stride=cfg.patch)
        self.blocks = nn.ModuleList(Block(cfg.image, cfg.image_eps, False) for _ in range(cfg.image.layers))
        self.norm = nn.LayerNorm(d, eps=cfg.image_eps)
        self.proj = nn.Linear(d, cfg.embed_dim)

    def hidden(self, image_B3HW, mask_BP=None):
        """Last hidden state [B, S, d], after `norm`; row 0 is CLS."""
        x_BPd = self.patch(image_B3HW).flatten(2).transpose(1, 2)
        if mask_BP is not None:
            x_BPd = torch.where(mask_BP.unsqueeze(-1), self.mask_token, x_BPd)
        x_BSd = torch.cat([self.cls_token.expand(len(x_BPd), -1, -1), x_BPd], 1) + self.pos_embed
        for block in self.blocks:
            x_BSd = block(x_BSd)
        return self.norm(x_BSd)

    def pooled(self, hidden_BSd):
        """The global state [B, d]: what is projected, and what CMLM adds to its words."""
        return hidden_BSd[:, 0] if self.pool == "cls" else hidden_BSd[:, 1:].mean(1)

    def embedding(self, hidden_BSd):
        return F.normalize(self.proj(self.pooled(hidden_BSd)), dim=-1, eps=1e-12)


class TextEmbedding(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        d = cfg.text.width
        self.word = nn.Embedding(cfg.vocab, d)
        self.pos = nn.Embedding(cfg.max_positions, d)
        self._modules["type"] = nn.Embedding(2, d)       # past setattr, for nn.Module has a method `type`
        self.ln = nn.LayerNorm(d, eps=cfg.text_eps)

    def forward(self, ids_BL):
        positions_L = torch.arange(ids_BL.shape[1], device=ids_BL.device)
        return self.ln(self.word(ids_BL) + self.pos(positions_L) + self._modules["type"].weight[0])


class Text(nn.Module):
    """BERT: post-LN, padding is no key."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.pool, self.pad_id = cfg.pool, cfg.pad_id
        self.embed = TextEmbedding(cfg)
        self.blocks = nn.ModuleList(Block(cfg.text, cfg.text_eps, True) for _ in range(cfg.text.layers))
        self.proj = nn.Linear(cfg.text.width, cfg.embed_dim)

    def hidden(self, ids_BL, valid_BL=None):
        """Last hidden state [B, L, d]; `valid_BL` is False at padding (default: where the id is `pad_id`)."""
        valid_BL = ids_BL != self.pad_id if valid_BL is None else valid_BL
        x_BLd = self.embed(ids_BL)
        for block in self.blocks:
            x_BLd = block(x_BLd, valid_BL[:, None, None, :])
        return x_BLd

    def pooled(self, hidden_BLd, valid_BL):
        """The global state [B, d]: what is projected, and what CMVM adds to its patches."""
        if self.pool == "cls":
            return hidden_BLd[:, 0]
        weight_BL1 = valid_BL.unsqueeze(-1).to(hidden_BLd.dtype)
        return (hidden_BLd * weight_BL1).sum(1) / weight_BL1.sum(1)

    def embedding(self, hidden_BLd, valid_BL):
        return F.normalize(self.proj(self.pooled(hidden_BLd, valid_BL)), dim=-1, eps=1e-12)


class MaskedHead(nn.Module):
    """Dense, GELU, LN, decoder: `out` for CMVM; word embeddings (tied) plus `bias` for CMLM."""

    def __init__(self, width: int, vocab: int, eps: float, tied: bool):
        super().__init__()
        self.dense, self.ln = nn.Linear(width, width), nn.LayerNorm(width, eps=eps)
        if tied:
            self.bias = nn.Parameter(torch.zeros(vocab))
        else:
            self.out = nn.Linear(width, vocab)

    def forward(self, fused_Md, tied_weight_Vd=None):
        u_Md = self.ln(F.gelu(self.dense(fused_Md)))
        return self.out(u_Md) if tied_weight_Vd is None else F.linear(u_Md, tied_weight_Vd, self.bias)


class LossState(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / cfg.tau)), requires_grad=cfg.tau_learnable)


class Model(nn.Module):
    """The online networks; `state_dict()` has the names of the checkpoint."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        self.visual, self.text = Vision(cfg), Text(cfg)
        self.cmvm = MaskedHead(cfg.image.width, cfg.visual_vocab, cfg.text_eps, tied=False)
        self.cmlm = MaskedHead(cfg.text.width, cfg.vocab, cfg.text_eps, tied=True)
        self.loss = LossState(cfg)
        self.init_weights()

    def init_weights(self, std: float = 0.02):
        for name, p in self.named_parameters():
            if name.endswith("logit_scale"):
                continue
            is_norm = any(part in ("ln", "ln1", "ln2", "norm") for part in name.split("."))
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif is_norm:
                nn.init.ones_(p)
            else:
                nn.init.trunc_normal_(p, std=std, a=-2 * std, b=2 * std)


# ---------------------------------------------------------------------------------------------- losses

def contrast_logits(query_BD, key_BD, queue_nD, scale, hidden_Bn=None):
    """[B, K] scaled similarities, entry 0 the own key; `hidden_Bn` True takes a column out of that row."""
    positive_B1 = (query_BD * key_BD).sum(-1, keepdim=True)
    negative_Bn = query_BD @ queue_nD.T
    if hidden_Bn is not None:
        negative_Bn = negative_Bn.masked_fill(hidden_Bn, -math.inf)
    return scale * torch.cat([positive_B1, negative_Bn], 1)


def weighted_mean(values_B, weight_B):
    return (values_B * weight_B).sum() / weight_B.sum().clamp(min=1)


def instance_loss(logits_BK, weight_B):
    """InfoNCE of one direction (SPEC 3.2)."""
    return weighted_mean(torch.logsumexp(logits_BK, 1) - logits_BK[:, 0], weight_B)


def task_loss(a_BK, b_BK, weight_B, include_positive=True, stopgrad="none"):
    """KL(p||q) + KL(q||p) of the two retrieval tasks' distributions (SPEC 3.3)."""
    if not include_positive:
        a_BK, b_BK = a_BK[:, 1:], b_BK[:, 1:]
    if a_BK.shape[1] == 0:
        return a_BK.sum()
    log_p, log_q = F.log_softmax(a_BK, 1), F.log_softmax(b_BK, 1)
    seen = torch.isfinite(log_p)
    log_p, log_q = log_p.masked_fill(~seen, 0), log_q.masked_fill(~seen, 0)
    p, q = log_p.exp() * seen, log_q.exp() * seen
    if stopgrad == "target":
        forward_B = (p.detach() * (log_p.detach() - log_q)).sum(1)
        backward_B = (q.detach() * (log_q.detach() - log_p)).sum(1)
    else:
        forward_B = (p * (log_p - log_q)).sum(1)
        backward_B = (q * (log_q - log_p)).sum(1)
    return weighted_mean(forward_B + backward_B, weight_B)


def masked_loss(logits_MV, target_M):
    """Mean cross-entropy over every masked position of the batch; 0 when there is none (SPEC 3.4)."""
    return F.cross_entropy(logits_MV, target_M) if len(target_M) else logits_MV.sum()


def filter_pairs(scores_B, queue_scores_n, k):
    """Adaptive momentum filter (SPEC 3.6): keep where score >= mean - k * population std of the queue."""
    queue = queue_scores_n.double()
    mean, std = queue.mean().item(), queue.std(unbiased=False).item()
    threshold = mean - k * std
    keep_B = torch.ones_like(scores_B, dtype=torch.bool) if std < 1e-6 else scores_B.double() >= threshold
    return keep_B, mean, std, threshold


def clip_means(rows_Nd, frames):
    """[B, d]: the mean of each clip's rows; `frames` says how many are whose."""
    return torch.stack([rows_nd.mean(0) for rows_nd in rows_Nd.split(frames)])


# ---------------------------------------------------------------------------------------------- queue

class PairQueue:
    """Paired keys and their scores, pushed in lockstep; starts empty, wraps around, keeps the last N."""

    def __init__(self, size: int, dim: int):
        self.size, self.next, self.valid = size, 0, 0
        self.image = torch.zeros(size, dim)
        self.text = torch.zeros(size, dim)
        self.score = torch.zeros(size)

    def push(self, image_BD, text_BD, score_B):
        rows = min(len(score_B), self.size)
        at = (self.next + len(score_B) - rows + torch.arange(rows)) % self.size
        self.image[at], self.text[at] = image_BD[-rows:], text_BD[-rows:]
        self.score[at] = score_B[-rows:]
        self.next = (self.next + len(score_B)) % self.size
        self.valid = min(self.size, self.valid + len(score_B))


# ---------------------------------------------------------------------------------------------- the step

@dataclass
class Batch:
    image_N3HW: torch.Tensor        # normalised pixels, the frames of pair 0, of pair 1, ...
    ids_BL: torch.Tensor            # clean word ids, padded
    image_mask_NP: torch.Tensor     # True where a patch is masked
    visual_tokens_NP: torch.Tensor  # the tokenizer's labels, row-major as the patches
    masked_ids_BL: torch.Tensor     # corrupted word ids
    text_mask_BL: torch.Tensor      # True where a word is to be predicted
    frames: list | None = None      # of each pair; None: every pair has one image

    def __post_init__(self):
        self.frames = self.frames or [1] * len(self.ids_BL)


class Trainer:
    def __init__(self, model: Model, cfg: Config):
        self.model, self.cfg, self.step_index, self.skip_ema = model, cfg, 0, False
        self.visual_m = copy.deepcopy(model.visual).requires_grad_(False).eval()
        self.text_m = copy.deepcopy(model.text).requires_grad_(False).eval()
        self.queue = PairQueue(cfg.queue_size, cfg.embed_dim)
        self.optimizer = torch.optim.AdamW(self.parameter_groups(), lr=cfg.lr, betas=cfg.betas, eps=cfg.adam_eps)

    def parameter_groups(self):
        """No decay: tensors of one dimension or none, biases, norms, visual positions, CLS and mask tokens. `lr_scale` by layer as in
        BEiT's optim_factory.py: embeddings are layer 0, block n is layer n + 1, what comes after the blocks has the whole rate."""
        tokens = ("visual.pos_embed", "visual.cls_token", "visual.mask_token")
        groups = {}
        for name, p in self.model.named_parameters():
            if not p.requires_grad:
                continue
            decay = 0.0 if p.ndim <= 1 or name in tokens else self.cfg.weight_decay
            key = (decay, self.lr_scale(name))
            groups.setdefault(key, {"params": [], "weight_decay": key[0], "lr_scale": key[1]})["params"].append(p)
        return list(groups.values())

    def lr_scale(self, name: str):
        tower, _, rest = name.partition(".")
        if tower not in ("visual", "text"):
            return 1.0
        last = (self.cfg.image if tower == "visual" else self.cfg.text).layers + 1
        if rest.startswith("blocks."):
            layer = int(rest.split(".")[1]) + 1
        else:
            layer = 0 if rest.split(".")[0] in ("cls_token", "mask_token", "pos_embed", "patch", "embed") else last
        return self.cfg.layer_decay ** (last - layer)

    def learning_rate(self, t: int):
        """Of step t, counted from 0: a line from `lr_start` to `lr`, then a cosine to `lr_end`."""
        c = self.cfg
        if t < c.warmup_steps:
            return c.lr_start + (c.lr - c.lr_start) * t / c.warmup_steps
        progress = min(1.0, (t - c.warmup_steps) / max(1, c.total_steps - c.warmup_steps))
        return c.lr_end + 0.5 * (c.lr - c.lr_end) * (1 + math.cos(math.pi * progress))

    @torch.no_grad()
    def update_momentum(self):
        if self.step_index == 0 or self.skip_ema:
            return
        for slow, fast in ((self.visual_m, self.model.visual), (self.text_m, self.model.text)):
            for p_slow, p_fast in zip(slow.parameters(), fast.parameters()):
                p_slow.mul_(self.cfg.ema_m).add_(p_fast, alpha=1 - self.cfg.ema_m)

    @torch.no_grad()
    def keys(self, batch: Batch):
        image_key_BD = self.clip_embedding(self.visual_m, self.visual_m.hidden(batch.image_N3HW), batch.frames)
        text_hidden = self.text_m.hidden(batch.ids_BL)
        text_key_BD = self.text_m.embedding(text_hidden, batch.ids_BL != self.cfg.pad_id)
        return image_key_BD, text_key_BD, (image_key_BD * text_key_BD).sum(-1)

    @staticmethod
    def clip_embedding(visual, hidden_NSd, frames):
        """Normalise each frame's embedding, average, normalise (SPEC 5.2)."""
        return F.normalize(clip_means(visual.embedding(hidden_NSd), frames), dim=-1, eps=1e-12)

    def kept(self, score_B):
        queue, c = self.queue, self.cfg
        min_valid = c.queue_size if c.amf_min_valid is None else c.amf_min_valid
        if not c.amf or queue.valid < max(1, min_valid):
            return torch.ones_like(score_B, dtype=torch.bool), {}
        keep_B, mean, std, threshold = filter_pairs(score_B, queue.score[:queue.valid], c.amf_k)
        return keep_B, {"filter_mean": mean, "filter_std": std, "filter_threshold": threshold}

    def negatives(self, image_key_BD, text_key_BD, keep_B):
        """Queue entries, and with `include_batch_keys` the keys of the batch's other pairs."""
        image_nD, text_nD = self.queue.image[:self.queue.valid], self.queue.text[:self.queue.valid]
        if not self.cfg.include_batch_keys:
            return image_nD, text_nD, None
        own = torch.eye(len(keep_B), dtype=torch.bool)[keep_B]
        hidden_Bn = torch.cat([own.new_zeros(len(own), len(image_nD)), own], 1)
        return torch.cat([image_nD, image_key_BD]), torch.cat([text_nD, text_key_BD]), hidden_Bn

    def losses(self, batch: Batch, image_key_BD, text_key_BD, keep_B):
        """All terms over the kept rows. Running only those equals weights in {0, 1} on all rows."""
        c, model = self.cfg, self.model
        # Of a clip, every frame is masked and predicted by itself, all with the clip's one text.
        frames = [count for count, keep in zip(batch.frames, keep_B.tolist()) if keep]
        keep_N = keep_B.repeat_interleave(torch.tensor(batch.frames))
        image, ids = batch.image_N3HW[keep_N], batch.ids_BL[keep_B]
        image_mask, text_mask = batch.image_mask_NP[keep_N], batch.text_mask_BL[keep_B]
        valid = ids != c.pad_id
        none_masked = torch.zeros_like(image_mask)
        image_clean, image_masked = model.visual.hidden(
            torch.cat([image, image]), torch.cat([none_masked, image_mask])).chunk(2)
        text_clean, text_masked = model.text.hidden(
            torch.cat([ids, batch.masked_ids_BL[keep_B]]), torch.cat([valid, valid])).chunk(2)

        image_nD, text_nD, hidden = self.negatives(image_key_BD, text_key_BD, keep_B)
        scale, weight = model.loss.logit_scale.exp(), torch.ones(len(ids), dtype=image.dtype)
        image_BD = self.clip_embedding(model.visual, image_clean, frames)
        a = contrast_logits(image_BD, text_key_BD[keep_B], text_nD, scale, hidden)
        b = contrast_logits(model.text.embedding(text_clean, valid), image_key_BD[keep_B], image_nD, scale, hidden)

        text_of_frame = model.text.pooled(text_clean, valid).repeat_interleave(torch.tensor(frames), 0)
        fused_image = (image_masked[:, 1:] + text_of_frame.unsqueeze(1))[image_mask]
        fused_text = (text_masked + clip_means(model.visual.pooled(image_clean), frames).unsqueeze(1))[text_mask]
        return {
            "image_to_text": instance_loss(a, weight),
            "text_to_image": instance_loss(b, weight),
            "task": task_loss(a, b, weight, c.task_include_positive, c.task_stopgrad),
            "cmvm": masked_loss(model.cmvm(fused_image), batch.visual_tokens_NP[keep_N][image_mask]),
            "cmlm": masked_loss(model.cmlm(fused_text, model.text.embed.word.weight), ids[text_mask]),
        }

    def total(self, loss):
        c = self.cfg
        ramp = min(1.0, self.step_index / c.task_warmup_steps) if c.task_warmup_steps else 1.0
        return (c.weight_inst * (loss["image_to_text"] + loss["text_to_image"]) + c.weight_task * ramp * loss["task"]
                + c.weight_cmvm * loss["cmvm"] + c.weight_cmlm * loss["cmlm"])

    def step(self, batch: Batch):
        """One optimiser step in the order of SPEC 3.6; returns the figures of metrics.jsonl."""
        self.update_momentum()
        image_key_BD, text_key_BD, score_B = self.keys(batch)
        keep_B, figures = self.kept(score_B)
        self.skip_ema = not bool(keep_B.any())
        if not self.skip_ema:
            loss = self.losses(batch, image_key_BD, text_key_BD, keep_B)
            total = self.total(loss)
            lr = self.learning_rate(self.step_index)
            for group in self.optimizer.param_groups:
                group["lr"] = lr * group["lr_scale"]
            self.optimizer.zero_grad()
            total.backward()
            trained = [p for p in self.model.parameters() if p.requires_grad]
            norm = nn.utils.clip_grad_norm_(trained, self.cfg.clip_grad)
            self.optimizer.step()
            figures |= {f"loss_{name}": value.item() for name, value in loss.items()}
            figures |= {"loss": total.item(), "lr": lr, "grad_norm": norm.item()}
        self.queue.push(image_key_BD, text_key_BD, score_B)
        self.step_index += 1
        return figures | {"keep": keep_B, "score": score_B, "queue_valid": self.queue.valid}
