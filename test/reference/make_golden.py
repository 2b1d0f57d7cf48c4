"""Makes the golden fixtures under fixtures/: values computed by PyTorch, transformers, Pillow and numpy.

    python3 -m venv venv && venv/bin/pip install -r test/reference/requirements.txt
    venv/bin/python test/reference/make_golden.py

Every fixture is a safetensors file (arrays) with a JSON beside it (settings), read by test/golden/*.test.ts.
"""
import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from cots_reference import Batch, Config, Model, TowerConfig, Trainer
from dvae_reference import OpenAIDecoder, OpenAIEncoder, SmallDvae

HERE = Path(__file__).parent / "fixtures"


def write(name, tensors, settings):
    HERE.mkdir(exist_ok=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, HERE / f"{name}.safetensors")
    (HERE / f"{name}.json").write_text(json.dumps(settings, indent=1) + "\n")


def random_images(count, size, seed):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def normalized(images_BSS3):
    return ((images_BSS3.float() / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)


def unit(x):
    return torch.nn.functional.normalize(x, dim=-1)


# ------------------------------------------------------------------------------------- Hugging Face towers

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "apple", "on", "the", "left", "of", "two", "dogs",
         "##s", "blue", "back", "##ground", ",", ".", "c", "##af", "##e", "\u4e2d", "\u6587"]
TEXTS = ["", "a red apple on the left of two dogs", "A  Caf\u00e9, on the blue background.", "\u4e2d\u6587 apple",
         "zebra a", "apple " * 300]


def hugging_face():
    from transformers import BertConfig, BertModel, BertTokenizerFast, ViTConfig, ViTModel

    torch.manual_seed(1)
    vit_config = ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32,
                           patch_size=8, layer_norm_eps=1e-6, initializer_range=0.2)
    vit = ViTModel(vit_config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for p in vit.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    vit.save_pretrained(HERE / "hf-vit")
    (HERE / "hf-vit" / "preprocessor_config.json").write_text(json.dumps({
        "do_resize": True, "size": {"height": 32, "width": 32}, "resample": 3, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        "image_processor_type": "ViTImageProcessor"}, indent=1) + "\n")

    bert_config = BertConfig(vocab_size=len(VOCAB), hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
                             intermediate_size=96, max_position_embeddings=64, initializer_range=0.2)
    bert = BertModel(bert_config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for p in bert.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    bert.save_pretrained(HERE / "hf-bert")
    (HERE / "hf-bert" / "vocab.txt").write_text("\n".join(VOCAB) + "\n", encoding="utf-8")

    tokenizer = BertTokenizerFast(vocab=str(HERE / "hf-bert" / "vocab.txt"), do_lower_case=True)
    tokens = tokenizer(TEXTS, padding=True, truncation=True, max_length=40, return_tensors="pt")
    images, large = random_images(3, 32, 2), random_images(2, 48, 3)
    with torch.no_grad():
        image_states = vit(normalized(images)).last_hidden_state
        large_states = vit(normalized(large), interpolate_pos_encoding=True).last_hidden_state
        text_states = bert(**tokens).last_hidden_state
    write("hf-parity", {
        "images": images, "image_embedding": unit(image_states[:, 0]), "images_48": large,
        "image_embedding_48": unit(large_states[:, 0]), "text_embedding": unit(text_states[:, 0]),
        "text_ids": tokens["input_ids"].int(), "text_lengths": tokens["attention_mask"].sum(1).int(),
    }, {"texts": TEXTS})


# ------------------------------------------------------------------------------------- ten training steps

def run_steps(trainer, dvae, generator, frames_of_step):
    """Steps over random batches of texts of up to 12 tokens; `frames_of_step` says how many frames each pair has."""
    tensors, figures, L = {}, [], 12
    for step, frames in enumerate(frames_of_step):
        B, N = len(frames), sum(frames)
        images = torch.from_numpy(generator.integers(0, 256, (N, 32, 32, 3), dtype=np.uint8))
        views = torch.from_numpy(generator.integers(0, 256, (N, 32, 32, 3), dtype=np.uint8))
        lengths = torch.from_numpy(generator.integers(4, L + 1, B))
        lengths[0] = L
        ids = torch.from_numpy(generator.integers(5, 60, (B, L)))
        text_mask = torch.from_numpy(generator.random((B, L)) < 0.3)
        for row, length in enumerate(lengths):
            ids[row, 0], ids[row, length - 1], ids[row, length:] = 2, 3, 0
            text_mask[row, 0], text_mask[row, length - 1:] = False, False
        masked_ids = torch.where(text_mask, torch.full_like(ids, 4), ids)
        image_mask = torch.from_numpy(generator.random((N, 16)) < 0.4)
        tokens = dvae.tokens(views.float().permute(0, 3, 1, 2) / 255)
        out = trainer.step(Batch(normalized(images), ids, image_mask, tokens, masked_ids, text_mask, frames))
        figures.append({k: out[k] for k in out if isinstance(out[k], (int, float))} | {"kept": int(out["keep"].sum())})
        for name, value in {"images": images, "token_views": views, "ids": ids.int(), "lengths": lengths.int(),
                            "image_mask": image_mask.to(torch.uint8), "masked_ids": masked_ids.int(),
                            "text_mask": text_mask.to(torch.uint8), "scores": out["score"]}.items():
            tensors[f"{name}.{step}"] = value
    return tensors, figures


TINY = Config(image=TowerConfig(24, 2, 2, 2.0), text=TowerConfig(24, 2, 2, 2.0), image_size=32, patch=8, vocab=60,
              max_positions=16, visual_vocab=48, embed_dim=16, tau=0.1, queue_size=20, ema_m=0.9, amf_k=0.5,
              amf_min_valid=12, lr=2e-3, lr_start=1e-4, lr_end=1e-4, warmup_steps=3, total_steps=10,
              task_warmup_steps=4)


def training_steps():
    """The whole method on a tiny model; the filter is active from the third step on and drops pairs."""
    torch.manual_seed(4)
    model = Model(TINY)
    with torch.no_grad():   # wide enough weights that ten steps move every loss
        for name, p in model.named_parameters():
            if p.ndim > 1:
                p.mul_(5)
    dvae = SmallDvae(vocab=48, hidden=16, codebook=8, blocks=1)
    initial = {k: v.clone() for k, v in model.state_dict().items()}
    trainer = Trainer(model, TINY)
    generator = np.random.default_rng(5)
    tensors, figures = run_steps(trainer, dvae, generator, [[1] * 8] * 10)
    final = {f"final.{k}": v for k, v in model.state_dict().items()}
    write("training-steps", tensors | final, {"batch": 8, "steps": figures})
    save_file(initial, HERE / "training-steps-initial.safetensors")
    save_file({k: v.contiguous() for k, v in dvae.state_dict().items()}, HERE / "training-steps-dvae.safetensors")


def layer_decay_steps():
    """The steps of training_steps() with a rate a layer: the same batches, other weights in the end."""
    cfg = dataclasses.replace(TINY, layer_decay=0.6)
    model, dvae = Model(cfg), SmallDvae(vocab=48, hidden=16, codebook=8, blocks=1)
    model.load_state_dict(load_file(HERE / "training-steps-initial.safetensors"))
    dvae.load_state_dict(load_file(HERE / "training-steps-dvae.safetensors"))
    tensors, figures = run_steps(Trainer(model, cfg), dvae, np.random.default_rng(5), [[1] * 8] * 10)
    kept = ("visual.pos_embed", "visual.patch.bias", "visual.blocks.0.fc1.bias", "visual.blocks.1.qkv.bias", "visual.norm.weight",
            "visual.proj.bias", "text.embed.pos", "text.embed.ln.weight", "text.blocks.0.fc2.bias", "text.blocks.1.ln2.weight",
            "text.proj.bias")
    state = model.state_dict()
    final = {f"final.{name}": state[name] for name in state if name in kept or name.removesuffix(".weight") in kept}
    scores = {name: value for name, value in tensors.items() if name.startswith("scores.")}
    write("layer-decay-steps", scores | final, {"batch": 8, "layer_decay": cfg.layer_decay, "steps": figures})


def clip_steps():
    """Steps on clips of one to three frames, from the weights and the tokenizer of training_steps()."""
    model, dvae = Model(TINY), SmallDvae(vocab=48, hidden=16, codebook=8, blocks=1)
    model.load_state_dict(load_file(HERE / "training-steps-initial.safetensors"))
    dvae.load_state_dict(load_file(HERE / "training-steps-dvae.safetensors"))
    generator = np.random.default_rng(10)
    frames = [generator.integers(1, 4, 6).tolist() for _ in range(6)]
    tensors, figures = run_steps(Trainer(model, TINY), dvae, generator, frames)
    tensors |= {f"frames.{step}": torch.tensor(counts, dtype=torch.int32) for step, counts in enumerate(frames)}
    write("clip-steps", tensors, {"batch": 6, "steps": figures})


# ------------------------------------------------------------------------------------- discrete VAEs

def discrete_vaes():
    """Layer lists at OpenAI's real size (names and shapes only), tokens of tiny networks of both kinds."""
    with torch.device("meta"):
        full = {"encoder": OpenAIEncoder(), "decoder": OpenAIDecoder()}
    layers = {part: {name: list(p.shape) for name, p in net.state_dict().items()} for part, net in full.items()}
    torch.manual_seed(6)
    pixels = random_images(3, 48, 7)
    x = pixels.float().permute(0, 3, 1, 2) / 255
    encoder, decoder = OpenAIEncoder(hidden=8, vocab=32), OpenAIDecoder(initial=8, hidden=8, vocab=32)
    small = SmallDvae(vocab=32, hidden=16, codebook=8, blocks=2)
    with torch.no_grad():
        openai_tokens, small_tokens = encoder.tokens(x), small.tokens(x)
        one_hot = torch.nn.functional.one_hot(openai_tokens, 32).float().transpose(1, 2).reshape(3, 32, 6, 6)
        openai_pixels = decoder.reconstruct(one_hot)
        small_codes = small.codebook(small_tokens).transpose(1, 2).reshape(3, 8, 6, 6)
        small_pixels = (small.decoder(small_codes) * 0.5 + 0.5).clamp(0, 1)
    save_file(dict(encoder.state_dict()) | {f"decoder.{k}": v for k, v in decoder.state_dict().items()},
              HERE / "dvae-openai.safetensors")
    save_file(dict(small.state_dict()), HERE / "dvae-small.safetensors")
    write("dvae", {"images": pixels, "openai_tokens": openai_tokens.int(), "openai_pixels": openai_pixels,
                   "small_tokens": small_tokens.int(), "small_pixels": small_pixels}, {"layers": layers})


# ------------------------------------------------------------------------------------- ranks and resize

def ranks_by_hand(scores_IT, image_of_text_T):
    """SPEC 5.1 by sorting nothing: count what is at least as good (pessimistic) or better (optimistic)."""
    images, texts = scores_IT.shape
    out = {"i2t": [], "i2t_optimistic": [], "t2i": [], "t2i_optimistic": []}
    for i in range(images):
        own = image_of_text_T == i
        best = scores_IT[i, own].max()
        out["i2t"].append(1 + int((scores_IT[i, ~own] >= best).sum()))
        out["i2t_optimistic"].append(1 + int((scores_IT[i, ~own] > best).sum()))
    for t in range(texts):
        other = np.arange(images) != image_of_text_T[t]
        best = scores_IT[image_of_text_T[t], t]
        out["t2i"].append(1 + int((scores_IT[other, t] >= best).sum()))
        out["t2i_optimistic"].append(1 + int((scores_IT[other, t] > best).sum()))
    return {k: torch.tensor(v, dtype=torch.int32) for k, v in out.items()}


def ranks():
    """Coordinates are multiples of 1/8, so every score is exact and ties are real ties."""
    generator = np.random.default_rng(8)
    images = generator.integers(-4, 5, (37, 6)).astype(np.float32) / 8
    owner = np.concatenate([np.arange(37), generator.integers(0, 37, 60)]).astype(np.int32)
    texts = generator.integers(-4, 5, (97, 6)).astype(np.float32) / 8
    expected = ranks_by_hand(images.astype(np.float64) @ texts.T.astype(np.float64), owner)
    write("ranks", {"images": torch.from_numpy(images), "texts": torch.from_numpy(texts),
                    "image_of_text": torch.from_numpy(owner), **expected}, {})


def resizes():
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR, "lanczos": Image.Resampling.LANCZOS}
    sizes = [((37, 23), (16, 16)), ((37, 23), (80, 61)), ((64, 48), (48, 64)), ((1, 1), (5, 3)), ((100, 7), (7, 100)),
             ((33, 33), (33, 12)), ((5, 5), (1, 1)), ((40, 30), (40, 30))]
    generator, tensors, cases = np.random.default_rng(9), {}, []
    for index, ((width, height), to) in enumerate(sizes):
        source = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        tensors[f"source.{index}"] = torch.from_numpy(source)
        for name, value in filters.items():
            result = np.asarray(Image.fromarray(source).resize(to, value))
            tensors[f"{name}.{index}"] = torch.from_numpy(result.copy())
        cases.append({"width": width, "height": height, "to": list(to)})
    write("resize", tensors, {"cases": cases, "pillow": Image.__version__})


if __name__ == "__main__":
    hugging_face()
    training_steps()
    layer_decay_steps()
    clip_steps()
    discrete_vaes()
    ranks()
    resizes()
    print(f"wrote {sum(1 for _ in HERE.rglob('*'))} files, {sum(f.stat().st_size for f in HERE.rglob('*') if f.is_file()) // 1024} kB")
