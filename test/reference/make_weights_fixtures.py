"""Makes fixtures/weights/: small random models of each family as transformers saves them, and what it computes with them.

    venv/bin/python test/reference/make_weights_fixtures.py

    vit       ViTModel with its pooler, in shards with an index; bilinear resize to a square
    deit      DeiTModel: a distillation token and its position, 36 pixels cropped to 32
    beit      BeitForImageClassification, bfloat16: a bias a layer, LayerScale, mean pooling; also at 44 pixels, tables by scipy
    beit-cls  BeitForMaskedImageModeling, float16: one bias for all layers, mask token, CLS pooling
    bert      BertForPreTraining: prefix, LayerNorm.gamma and beta, cased vocab.txt
    clip      CLIPModel: quick-GELU, byte pairs, shorter side to 36 cropped to 32; vocab.json and merges.txt beside tokenizer.json

arrays.safetensors has pixels, embeddings and ids by name; weights.json the texts. Embeddings are float32 of the saved weights.
"""
import json
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.interpolate import RectBivariateSpline
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (BeitConfig, BeitForImageClassification, BeitForMaskedImageModeling, BeitImageProcessorPil, BertConfig,
                          BertForPreTraining, BertTokenizerFast, CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer,
                          DeiTConfig, DeiTImageProcessorPil, DeiTModel, VisionTextDualEncoderConfig, VisionTextDualEncoderModel,
                          ViTConfig, ViTImageProcessorPil, ViTModel)

HERE = Path(__file__).parent / "fixtures" / "weights"
SIZES = [(50, 37), (31, 64), (121, 90), (40, 40)]
TRUNK = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, initializer_range=0.2)
TEXTS = [
    "", " ", "a red apple on the left of two dogs", "A  Caf\u00e9, on\tthe\nblue background.", "\u4e2d\u6587 apple \u65e5\u672c\u8a9e",
    "zebra isn't they're I'VE we'll 12345 67",
    "na\u00efve e\u0301cole \u00c5ngstr\u00f6m \u0130stanbul stra\u00dfe \u1e9e \u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03a3",
    "\U0001f600 smile \U0001f469\u200d\U0001f469\u200d\U0001f467 family \U0001f1e9\U0001f1ea \u2764\ufe0f",
    "\u0000 nul \u0007 bell \u200b zero \ufeff bom \u00ad soft",
    "\u0645\u0631\u062d\u0628\u0627 \u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "[SEP] [MASK] <|endoftext|> <|startoftext|> dogs", "...!!!???---###", "a" * 150, "apple " * 600,
    "\u3000ideographic\u00a0no-break\u2003em \u2028line \u2029paragraph", "\ufb01 \u2460 \u00bd \u00b2 \uff21\uff22\uff23 \u212b",
    "\U00020000\U0002a6d6 rare \u4e00", "under_score CamelCase snake-case a/b a.b,c;d", "\u0958 \ufb1d \u1100\u1161\u11a8", "tail space ",
    "\ud7ff \ue000 private \ufffd", "O'Neill's dogs' it\u2019s", "\u200e\u200fmarks \u2066isolate\u2069", "\x85next \x1cfile \x1funit",
]
BERT_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "apple", "A", "Ca", "##f", "##\u00e9", "on", "the", "left", "of",
              "two", "dog", "##s", "blue", "back", "##ground", ",", ".", "'", "I", "##VE", "1", "##2", "##3", "##4", "##5", "\u4e2d", "\u6587",
              "\u65e5", "\u672c", "\u8a9e", "z", "##ebra", "na", "##\u00efve", "isn", "t", "-", "/", "!", "?", "#", "smile", "\U0001f600"]


def quiet():
    logging.disable(logging.WARNING)


def pictures():
    """Smooth color and fine stripes, so that filters differ."""
    folder = HERE / "images"
    folder.mkdir()
    for i, (w, h) in enumerate(SIZES):
        y, x = np.mgrid[0:h, 0:w].astype(np.float64)
        rgb = np.stack([127 + 120 * np.sin(x / (3 + i)), 127 + 120 * np.cos((x + y) / (2 + i)), 255 * y / h], -1)
        Image.fromarray(rgb.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return [Image.open(p) for p in sorted(folder.iterdir())]


def shake(model, seed):
    """No weight is left at a value where its part does nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.1)
    return model.eval()


def unit(x):
    return torch.nn.functional.normalize(x.detach().float(), dim=-1)


def saved(model, folder, dtype=torch.float32, **options):
    """Saves in `dtype` and gives the model with the values that were saved."""
    model.to(dtype).save_pretrained(HERE / folder, **options)
    return model.float().eval()


def processed(processor, images, folder):
    processor.save_pretrained(HERE / folder)
    file = HERE / folder / "preprocessor_config.json"
    settings = json.loads(file.read_text())
    settings["image_processor_type"] = settings["image_processor_type"].removesuffix("Pil")
    file.write_text(json.dumps(settings, indent=1) + "\n")
    return processor(images, return_tensors="pt").pixel_values


# ------------------------------------------------------------------------------------------------- image towers

def vit(images, arrays):
    model = saved(shake(ViTModel(ViTConfig(**TRUNK, image_size=32, patch_size=8, layer_norm_eps=1e-6)), 1), "vit", max_shard_size="40KB")
    assert len(list((HERE / "vit").glob("model-*.safetensors"))) > 1
    pixels = processed(ViTImageProcessorPil(size={"height": 32, "width": 32}), images, "vit")
    arrays["vit.pixels"], arrays["vit.embedding"] = pixels, unit(model(pixels).last_hidden_state[:, 0])


def deit(images, arrays):
    """cots leaves the distillation token out: the reference is the ViT of the other weights."""
    config = DeiTConfig(**TRUNK, image_size=32, patch_size=8)
    model = saved(shake(DeiTModel(config), 2), "deit")
    processor = DeiTImageProcessorPil(size={"height": 36, "width": 36}, crop_size={"height": 32, "width": 32},
                                      image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
    pixels = processed(processor, images, "deit")
    plain = ViTModel(ViTConfig(**TRUNK, image_size=32, patch_size=8, layer_norm_eps=config.layer_norm_eps), add_pooling_layer=False).eval()
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("pooler") and "distillation" not in k}
    positions = state["embeddings.position_embeddings"]
    state["embeddings.position_embeddings"] = torch.cat([positions[:, :1], positions[:, 2:]], 1)
    plain.load_state_dict(state)
    arrays["deit.pixels"], arrays["deit.embedding"] = pixels, unit(plain(pixels).last_hidden_state[:, 0])


def resized_table(table, grid):
    """microsoft/unilm beit/run_class_finetuning.py; interp2d(kind="cubic") is RectBivariateSpline on a grid."""
    table = table.double().numpy()
    rows, src, dst = table[:-3], round((len(table) - 3) ** 0.5), 2 * grid - 1
    left, right = 1.01, 1.5
    while right - left > 1e-6:
        q = (left + right) / 2.0
        if (1.0 - q ** (src // 2)) / (1.0 - q) > dst // 2:
            right = q
        else:
            left = q
    distances, current = [], 1
    for i in range(src // 2):
        distances.append(current)
        current += q ** (i + 1)
    x = [-d for d in reversed(distances)] + [0] + distances
    t = dst // 2.0
    at = np.arange(-t, t + 0.1, 1.0)
    heads = [RectBivariateSpline(x, x, rows[:, h].reshape(src, src), kx=3, ky=3, s=0)(at, at).reshape(-1) for h in range(table.shape[1])]
    return torch.from_numpy(np.concatenate([np.stack(heads, 1), table[-3:]])).float()


def beit(images, arrays):
    options = dict(**TRUNK, patch_size=4, use_relative_position_bias=True, layer_scale_init_value=0.5)
    model = saved(shake(BeitForImageClassification(BeitConfig(**options, image_size=28)), 3), "beit", torch.bfloat16)
    pixels = processed(BeitImageProcessorPil(size={"height": 28, "width": 28}, do_center_crop=False), images, "beit")
    arrays["beit.pixels"], arrays["beit.embedding"] = pixels, unit(model.beit(pixels).pooler_output)
    larger = BeitForImageClassification(BeitConfig(**options, image_size=44)).eval()
    state = {k: resized_table(v, 11) if k.endswith("bias_table") else v for k, v in model.state_dict().items()}
    larger.load_state_dict(state)
    pixels = BeitImageProcessorPil(size={"height": 44, "width": 44}, do_center_crop=False)(images, return_tensors="pt").pixel_values
    arrays["beit.embedding_44"] = unit(larger.beit(pixels).pooler_output)
    table = torch.from_numpy(np.random.default_rng(4).normal(size=(27 ** 2 + 3, 3))).float()
    arrays["spline.table_14"], arrays["spline.table_24"] = table, resized_table(table, 24)


def beit_cls(images, arrays):
    config = BeitConfig(**TRUNK, image_size=32, patch_size=8, use_shared_relative_position_bias=True, use_mask_token=True, vocab_size=16,
                        use_absolute_position_embeddings=True)
    model = saved(shake(BeitForMaskedImageModeling(config), 5), "beit-cls", torch.float16)
    pixels = processed(BeitImageProcessorPil(size={"height": 32, "width": 32}), images, "beit-cls")
    states = model.layernorm(model.beit(pixels).last_hidden_state)
    arrays["beit-cls.pixels"], arrays["beit-cls.embedding"] = pixels, unit(states[:, 0])


# ------------------------------------------------------------------------------------------------- text tower

def bert(arrays):
    config = BertConfig(vocab_size=len(BERT_WORDS), **TRUNK, max_position_embeddings=64)
    model = saved(shake(BertForPreTraining(config), 6), "bert")
    file = HERE / "bert" / "model.safetensors"
    legacy = {re.sub(r"LayerNorm\.weight$", "LayerNorm.gamma", re.sub(r"LayerNorm\.bias$", "LayerNorm.beta", k)): v
              for k, v in load_file(file).items()}
    save_file(legacy, file, {"format": "pt"})
    (HERE / "bert" / "vocab.txt").write_text("\n".join(BERT_WORDS) + "\n", encoding="utf-8")
    (HERE / "bert" / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "model_max_length": 64}) + "\n")
    tokenizer = BertTokenizerFast(vocab=str(HERE / "bert" / "vocab.txt"), do_lower_case=False)
    tokens = tokenizer(TEXTS, padding=True, truncation=True, max_length=40, return_tensors="pt")
    arrays["bert.ids"], arrays["bert.lengths"] = tokens["input_ids"].int(), tokens["attention_mask"].sum(1).int()
    arrays["bert.embedding"] = unit(model.bert(**tokens).last_hidden_state[:, 0])


# ------------------------------------------------------------------------------------------------- CLIP

def clip_tokenizer():
    """Byte pairs of a small corpus, in CLIP's form: every byte, every byte at a word's end, merges, the two special words last."""
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), end_of_word_suffix="</w>",
                                  show_progress=False)
    corpus = TEXTS * 3 + ["a photo of a dog on the left of the red apple", "two dogs smile at the blue background"] * 20
    trained.train_from_iterator(corpus, trainer)
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in json.loads(trained.to_str())["model"]["merges"]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    known = letters + [letter + "</w>" for letter in letters]
    kept = []
    for left, right in merges:
        if left in known and right in known and len(kept) < 200:
            kept.append((left, right))
            known.append(left + right)
    words = list(dict.fromkeys(known)) + ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=kept, model_max_length=77), kept


def clip(images, arrays):
    tokenizer, merges = clip_tokenizer()
    tokenizer.save_pretrained(HERE / "clip")
    vocabulary = dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))
    (HERE / "clip" / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (HERE / "clip" / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    end = tokenizer.eos_token_id
    config = CLIPConfig(
        vision_config=dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8),
        text_config=dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48, vocab_size=len(vocabulary),
                         bos_token_id=tokenizer.bos_token_id, eos_token_id=end, pad_token_id=end),
        projection_dim=16)
    model = saved(shake(CLIPModel(config), 7), "clip")
    pixels = processed(CLIPImageProcessorPil(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}), images, "clip")
    tokens = tokenizer(TEXTS, padding=True, truncation=True, max_length=77, return_tensors="pt")
    out = model(pixel_values=pixels, **tokens)
    arrays["clip.pixels"], arrays["clip.ids"] = pixels, tokens["input_ids"].int()
    arrays["clip.lengths"] = tokens["attention_mask"].sum(1).int()
    arrays["clip.image_embedding"], arrays["clip.text_embedding"] = unit(out.image_embeds), unit(out.text_embeds)


# ------------------------------------------------------------------------------------------------- what export must write

def layouts():
    """Names and shapes of the file that transformers saves, for the sizes of the model that the test exports."""
    trunk = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    vision, text = ViTConfig(**trunk, image_size=16, patch_size=4), BertConfig(**trunk, vocab_size=40, max_position_embeddings=12)
    config = VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=8)
    folder = HERE / "dual"
    VisionTextDualEncoderModel(config).save_pretrained(folder)
    shapes = {name: list(value.shape) for name, value in load_file(folder / "model.safetensors").items()}
    shutil.rmtree(folder)
    return {"dual": shapes}


@torch.no_grad()
def main():
    quiet()
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir(parents=True)
    torch.manual_seed(0)
    images, arrays = pictures(), {}
    for make in (vit, deit, beit, beit_cls, clip):
        make(images, arrays)
    bert(arrays)
    save_file({k: v.contiguous() for k, v in arrays.items()}, HERE / "arrays.safetensors")
    (HERE / "weights.json").write_text(json.dumps({"texts": TEXTS, "layouts": layouts()}, indent=1) + "\n")
    for path in sorted(HERE.iterdir()):
        files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
        print(f"{path.name:20} {sum(f.stat().st_size for f in files) // 1024} kB")


if __name__ == "__main__":
    main()
