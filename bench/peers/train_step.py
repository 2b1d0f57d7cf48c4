"""One whole COTS pre-training step as a practitioner writes it in PyTorch: transformers' ViT and BERT, eager or compiled.

    python train_step.py FOLDER THREADS

FOLDER/settings.json has the native training config, the image tokenizer's, and the number of pairs; FOLDER/*.bin the batch with its masks.
`tokenizer` writes a random image tokenizer that the product loads; `load` takes the product's first weights and queues from FOLDER/start.

Clean and masked passes, momentum towers, tokens of a discrete VAE, two queues, InfoNCE both ways, symmetric KL, CMVM, CMLM,
the momentum filter, gradient clipping, AdamW, EMA. Tuned as far as plain PyTorch goes: SDPA without attention dropout, clean and masked
passes as one batch, heads on masked positions alone, fused AdamW, foreach EMA, convolutions channels-last, no gradient where none is
needed. COTS_COMPILE=1 adds torch.compile to the towers. COTS_DEVICE=cuda trains on a GPU, in bfloat16 by autocast over float32
weights, attention by flash kernels.

Shapes: B pairs, P patches, L tokens, D embedding, n queue entries.
"""
import copy
import glob
import json
import math
import os
import resource
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BertConfig, BertModel, ViTConfig, ViTModel

from peer import serve, versions

folder, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)
torch.manual_seed(1)
device = torch.device(os.environ.get("COTS_DEVICE", "cpu"))
torch.set_default_device(device)
run = {}


def towers(config):
    """ViT and BERT of the sizes of a cots config's `model` section, in its native spelling."""
    image, text = config["image"], config["text"]
    vit = ViTModel(ViTConfig(
        hidden_size=image["width"], num_hidden_layers=image["layers"], num_attention_heads=image["heads"],
        intermediate_size=int(image["width"] * image["mlpRatio"]), image_size=image["size"], patch_size=image["patch"],
        layer_norm_eps=image["layerNormEps"], hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        attn_implementation="sdpa"), add_pooling_layer=False, use_mask_token=True)
    bert = BertModel(BertConfig(
        vocab_size=text["vocabSize"], hidden_size=text["width"], num_hidden_layers=text["layers"],
        num_attention_heads=text["heads"], intermediate_size=int(text["width"] * text["mlpRatio"]),
        max_position_embeddings=text["maxPositions"], layer_norm_eps=text["layerNormEps"],
        hidden_dropout_prob=text["dropout"], attention_probs_dropout_prob=0.0, attn_implementation="sdpa"),
        add_pooling_layer=False)
    return vit, bert


class Towers(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.vit, self.bert = towers(config)
        self.image_proj = nn.Linear(config["image"]["width"], config["embedDim"])
        self.text_proj = nn.Linear(config["text"]["width"], config["embedDim"])

    def image(self, pixels, mask=None):
        return self.vit(pixels, bool_masked_pos=mask).last_hidden_state

    def text(self, ids, valid):
        return self.bert(ids, attention_mask=valid).last_hidden_state

    def embed(self, image_hidden, text_hidden):
        return (F.normalize(self.image_proj(image_hidden[:, 0]), dim=-1),
                F.normalize(self.text_proj(text_hidden[:, 0]), dim=-1))


class Head(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.dense, self.ln = nn.Linear(width, width), nn.LayerNorm(width, eps=eps)

    def forward(self, x):
        return self.ln(F.gelu(self.dense(x)))


class Step:
    """Holds weights, momentum towers, queues and optimizer; `__call__` is one step and returns its losses."""

    def __init__(self, config, tokenizer, compile=False):
        model, self.config = config["model"], config
        self.online = Towers(model)
        self.image_head = Head(model["image"]["width"], model["text"]["layerNormEps"])
        self.text_head = Head(model["text"]["width"], model["text"]["layerNormEps"])
        self.image_out = nn.Linear(model["image"]["width"], config["token"]["vocab"])
        self.text_bias = nn.Parameter(torch.zeros(model["text"]["vocabSize"]))
        self.momentum = copy.deepcopy(self.online).requires_grad_(False).eval()
        self.tokenizer = tokenizer.requires_grad_(False).eval()
        decayed, plain = self.parameter_groups()
        optimizer = config["optimizer"]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": optimizer["weightDecay"]}, {"params": plain, "weight_decay": 0.0}],
            lr=optimizer["lr"], betas=(optimizer["beta1"], optimizer["beta2"]), eps=optimizer["eps"], fused=True)
        if compile:
            for part in (self.online, self.momentum):
                part.vit.forward = torch.compile(part.vit.forward)
                part.bert.forward = torch.compile(part.bert.forward)

    def modules(self):
        return {"": self.online, "image_head": self.image_head, "text_head": self.text_head, "image_out": self.image_out}

    def named_parameters(self):
        for prefix, module in self.modules().items():
            for name, parameter in module.named_parameters():
                yield f"{prefix}.{name}" if prefix else name, parameter
        yield "text_bias", self.text_bias

    def parameter_groups(self):
        def is_plain(name, p):
            return p.ndim <= 1 or name.startswith("vit.embeddings.") and "patch" not in name
        named = list(self.named_parameters())
        return ([p for name, p in named if not is_plain(name, p)], [p for name, p in named if is_plain(name, p)])

    @torch.no_grad()
    def follow(self):
        m = self.config["emaM"]
        torch._foreach_lerp_(list(self.momentum.parameters()), list(self.online.parameters()), 1 - m)

    @torch.no_grad()
    def keys(self, pixels, ids, valid):
        image, text = self.momentum.embed(self.momentum.image(pixels), self.momentum.text(ids, valid))
        return image, text, (image * text).sum(-1)

    def losses(self, batch, image_key, text_key, weight):
        pixels, ids, valid = batch["pixels"], batch["ids"], batch["valid"]
        image_mask, text_mask = batch["image_mask"], batch["text_mask"]
        image_clean, image_masked = self.online.image(
            torch.cat([pixels, pixels]), torch.cat([torch.zeros_like(image_mask), image_mask])).chunk(2)
        text_clean, text_masked = self.online.text(
            torch.cat([ids, batch["masked_ids"]]), torch.cat([valid, valid])).chunk(2)
        image, text = self.online.embed(image_clean, text_clean)

        scale, kept = 1 / self.config["loss"]["tau"], weight.sum().clamp(min=1)
        a = scale * torch.cat([(image * text_key).sum(-1, keepdim=True), image @ self.text_queue.T], 1)
        b = scale * torch.cat([(text * image_key).sum(-1, keepdim=True), text @ self.image_queue.T], 1)
        log_p, log_q = F.log_softmax(a, 1), F.log_softmax(b, 1)
        contrast = -(weight * (log_p[:, 0] + log_q[:, 0])).sum() / kept
        task = (weight * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1)).sum() / kept

        keep = weight.bool().unsqueeze(1)
        image_at, text_at = image_mask & keep, text_mask & keep
        fused_image = (image_masked[:, 1:] + text_clean[:, :1])[image_at]
        fused_text = (text_masked + image_clean[:, :1])[text_at]
        cmvm = F.cross_entropy(self.image_out(self.image_head(fused_image)), batch["tokens"][image_at])
        words = F.linear(self.text_head(fused_text), self.online.bert.embeddings.word_embeddings.weight, self.text_bias)
        cmlm = F.cross_entropy(words, ids[text_at])
        return contrast, task, cmvm, cmlm

    def filter(self, score):
        if self.valid < self.config["filter"]["minValid"]:
            return torch.ones_like(score)
        queue = self.scores.double()
        threshold = queue.mean() - self.config["filter"]["k"] * queue.std(unbiased=False)
        return (score.double() >= threshold).float()

    @torch.no_grad()
    def push(self, image_key, text_key, score):
        at = (self.next + torch.arange(len(score))) % len(self.scores)
        self.image_queue[at], self.text_queue[at], self.scores[at] = image_key, text_key, score
        self.next = (self.next + len(score)) % len(self.scores)
        self.valid = min(self.valid + len(score), len(self.scores))

    @torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
    def __call__(self, batch, follow=True):
        if follow:
            self.follow()
        batch = dict(batch, pixels=(batch["images"].permute(0, 3, 1, 2) / 255 - 0.5) / 0.5)
        with torch.no_grad():
            batch["tokens"] = self.tokenizer(batch["views"].permute(0, 3, 1, 2) / 255)
        image_key, text_key, score = self.keys(batch["pixels"], batch["ids"], batch["valid"])
        weight = self.filter(score) if self.config["filter"]["enabled"] else torch.ones_like(score)
        contrast, task, cmvm, cmlm = self.losses(batch, image_key, text_key, weight)
        total = contrast + task + cmvm + cmlm
        self.optimizer.zero_grad()
        total.backward()
        parameters = [p for _, p in self.named_parameters()]
        nn.utils.clip_grad_norm_(parameters, self.config["optimizer"]["clipGrad"], foreach=True)
        self.optimizer.step()
        self.push(image_key, text_key, score)
        return {"loss": total.item(), "contrast": contrast.item(), "task": task.item(), "cmvm": cmvm.item(),
                "cmlm": cmlm.item()}


class ResidualBlock(nn.Module):
    """A block of OpenAI's discrete VAE: id + gain * four times ReLU and convolution."""

    def __init__(self, width, out, gain):
        super().__init__()
        h, self.gain = out // 4, gain
        self.id = nn.Conv2d(width, out, 1) if width != out else nn.Identity()
        self.convs = nn.ModuleList(nn.Conv2d(i, o, k, padding=k // 2)
                                   for i, o, k in ((width, h, 3), (h, h, 3), (h, h, 3), (h, out, 1)))

    def forward(self, x):
        residual = x
        for conv in self.convs:
            residual = conv(residual.relu())
        return self.id(x) + self.gain * residual


class Tokenizer(nn.Module):
    """OpenAI's encoder: pixels [B, 3, H, W] in [0, 1] to codes [B, P]."""

    def __init__(self, config):
        super().__init__()
        n, blocks = config["hidden"], config["blocks"]
        widths, gain = (n, n, 2 * n, 4 * n, 8 * n), 1 / (4 * blocks) ** 2
        self.input = nn.Conv2d(3, n, 7, padding=3)
        self.groups = nn.ModuleList(nn.ModuleList(
            ResidualBlock(widths[g] if b == 0 else widths[g + 1], widths[g + 1], gain) for b in range(blocks)) for g in range(4))
        self.output = nn.Conv2d(8 * n, config["vocab"], 1)
        with torch.no_grad():
            for conv in self.modules():
                if isinstance(conv, nn.Conv2d):
                    conv.weight.normal_(0, 1 / math.sqrt(conv.weight[0].numel()))
                    conv.bias.zero_()
        self.to(memory_format=torch.channels_last)

    def forward(self, pixels):
        x = self.input((0.8 * pixels + 0.1).contiguous(memory_format=torch.channels_last))
        for place, group in enumerate(self.groups):
            for block in group:
                x = block(x)
            x = F.max_pool2d(x, 2) if place < 3 else x
        return self.output(x.relu()).argmax(1).flatten(1)

    def product_tensors(self):
        """By the product's names (those of OpenAI's own state dict)."""
        convs = {"input": self.input, "output.conv": self.output}
        for g, group in enumerate(self.groups):
            for b, block in enumerate(group):
                at = f"group_{g + 1}.block_{b + 1}"
                convs |= {f"{at}.res_path.conv_{i + 1}": conv for i, conv in enumerate(block.convs)}
                if isinstance(block.id, nn.Conv2d):
                    convs[f"{at}.id_path"] = block.id
        return {f"blocks.{name}.{short}": getattr(conv, long).detach().contiguous()
                for name, conv in convs.items() for short, long in (("w", "weight"), ("b", "bias"))}


VIT = {"attention.o_proj": "proj", "layernorm_before": "ln1", "layernorm_after": "ln2", "mlp.fc1": "fc1", "mlp.fc2": "fc2"}
BERT = {"attention.output.dense": "proj", "attention.output.LayerNorm": "ln1", "output.LayerNorm": "ln2",
        "intermediate.dense": "fc1", "output.dense": "fc2"}


def product_names(config):
    """Where each parameter is in the product's files: name here -> (name there, third of a joined qkv or None)."""
    names = {"vit.embeddings.cls_token": "visual.cls_token", "vit.embeddings.mask_token": "visual.mask_token",
             "vit.embeddings.position_embeddings": "visual.pos_embed"}
    modules = {"vit.embeddings.patch_embeddings.projection": "visual.patch", "vit.layernorm": "visual.norm",
               "bert.embeddings.LayerNorm": "text.embed.ln", "image_proj": "visual.proj", "text_proj": "text.proj",
               "image_head.dense": "cmvm.dense", "image_head.ln": "cmvm.ln", "text_head.dense": "cmlm.dense",
               "text_head.ln": "cmlm.ln", "image_out": "cmvm.out"}
    for here, there in {"word": "word", "position": "pos", "token_type": "type"}.items():
        names[f"bert.embeddings.{here}_embeddings.weight"] = f"text.embed.{there}.weight"
    parts = {}
    for tower, layers, stem, table, qkv in (
            ("visual", config["image"]["layers"], "vit.layers", VIT, ["attention.q_proj", "attention.k_proj", "attention.v_proj"]),
            ("text", config["text"]["layers"], "bert.encoder.layer", BERT,
             ["attention.self.query", "attention.self.key", "attention.self.value"])):
        for n in range(layers):
            modules |= {f"{stem}.{n}.{here}": f"{tower}.blocks.{n}.{there}" for here, there in table.items()}
            for third, here in enumerate(qkv):
                parts |= {f"{stem}.{n}.{here}.{p}": (f"{tower}.blocks.{n}.qkv.{p}", third) for p in ("weight", "bias")}
    names |= {f"{here}.{p}": f"{there}.{p}" for here, there in modules.items() for p in ("weight", "bias")}
    names["text_bias"] = "cmlm.bias"
    return {here: (there, None) for here, there in names.items()} | parts


def settings():
    with open(os.path.join(folder, "settings.json")) as file:
        return json.load(file)


def tokenizer():
    run["tokenizer"] = Tokenizer(settings()["tokenizer"])
    save_file(run["tokenizer"].product_tensors(), os.path.join(folder, "tokenizer.safetensors"))


def load():
    """The product's weights and queues, and the batch."""
    config = settings()["config"]
    tensors = {}
    for file in glob.glob(os.path.join(folder, "start", "*.safetensors")):
        tensors |= load_file(file, device=str(device))
    step = Step(config, run["tokenizer"], compile=os.environ.get("COTS_COMPILE") == "1")
    where = product_names(config["model"])
    with torch.no_grad():
        for name, parameter in step.named_parameters():
            there, third = where[name]
            value = tensors[there]
            parameter.copy_(value if third is None else value.chunk(3)[third])
        for mine, other in zip(step.momentum.parameters(), step.online.parameters()):
            mine.copy_(other)
    step.image_queue, step.text_queue = tensors["queue.image"], tensors["queue.text"]
    step.scores, step.next, step.valid = tensors["queue.score"], int(tensors["queue.ptr"]), int(tensors["queue.valid"].sum())
    run["step"], run["batch"], run["steps"] = step, read_batch(config["model"]), 0


def read_batch(model):
    B, L = settings()["pairs"], model["text"]["maxPositions"]
    S, g = model["image"]["size"], model["image"]["size"] // model["image"]["patch"]

    def read(name, dtype, *shape):
        return torch.from_numpy(np.fromfile(os.path.join(folder, f"{name}.bin"), dtype=dtype).reshape(shape)).to(device)

    lengths = read("lengths", np.int32, B, 1)
    return {"images": read("images", np.uint8, B, S, S, 3), "views": read("tokenViews", np.uint8, B, 8 * g, 8 * g, 3),
            "ids": read("ids", np.int32, B, L).long(), "masked_ids": read("maskedIds", np.int32, B, L).long(),
            "valid": (torch.arange(L) < lengths).long(), "image_mask": read("imageMask", np.uint8, B, g * g).bool(),
            "text_mask": read("textMask", np.uint8, B, L).bool()}


def step():
    start = time.perf_counter()
    losses = run["step"](run["batch"], follow=run["steps"] > 0)
    seconds = time.perf_counter() - start
    run["steps"] += 1
    peak = (torch.cuda.max_memory_allocated() if device.type == "cuda"
            else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return {"seconds": seconds, "losses": losses, "peakBytes": peak}


serve({"tokenizer": tokenizer, "load": load, "step": step}, versions("torch", "transformers"))
