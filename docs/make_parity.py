"""Makes a folder for `cots doctor --parity`: what transformers computes of some images and texts.

    pip install torch transformers pillow numpy
    python docs/make_parity.py --image vit-base-patch16-384 --text bert-base-uncased --images photos/ --texts captions.txt --out parity
    cots import hf --image vit-base-patch16-384 --text bert-base-uncased --out parity/model
    cots doctor --parity parity

`--whole DIR` in place of `--image` and `--text` takes a CLIPModel or a VisionTextDualEncoderModel. Without `--text` or `--texts`
only the image side is made, and the other way round.
"""
import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoModel, AutoTokenizer


def image_processor(folder):
    """The processor that resizes with Pillow; torchvision's resizes a little differently."""
    kind = json.loads((Path(folder) / "preprocessor_config.json").read_text())
    name = kind.get("image_processor_type", kind.get("feature_extractor_type", "ViTImageProcessor"))
    name = name.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
    return getattr(transformers, f"{name}Pil").from_pretrained(folder)


def pooled_image(model, pixels):
    """The state that cots pools: the CLS row, or BEiT's normalized mean."""
    out = model(pixel_values=pixels)
    by_mean = model.config.model_type == "beit" and model.config.use_mean_pooling
    return out.pooler_output if by_mean else out.last_hidden_state[:, 0]


def features(out):
    return out if isinstance(out, torch.Tensor) else out.pooler_output


def save(folder, name, values):
    np.save(folder / f"{name}.npy", np.ascontiguousarray(values.numpy()))


@torch.no_grad()
def make_images(options, out):
    files = sorted(file for file in Path(options.images).iterdir() if not file.name.startswith("."))
    (out / "images").mkdir()
    for file in files:
        shutil.copy(file, out / "images" / file.name)
    source = options.whole or options.image
    images = [Image.open(file).convert("RGB") for file in files]
    pixels = image_processor(source)(images, return_tensors="pt").pixel_values.float()
    model = AutoModel.from_pretrained(source).float().eval()
    save(out, "pixel_values", pixels)
    save(out, "image_embeddings", features(model.get_image_features(pixel_values=pixels)) if options.whole else pooled_image(model, pixels))


@torch.no_grad()
def make_texts(options, out):
    content = Path(options.texts).read_text(encoding="utf-8")
    texts = json.loads(content) if options.texts.endswith(".json") else content.removesuffix("\n").split("\n")
    (out / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    source = options.whole or options.text
    model = AutoModel.from_pretrained(source).float().eval()
    longest = options.max_length or (77 if model.config.model_type == "clip" else 40)
    tokens = AutoTokenizer.from_pretrained(source)(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
    save(out, "input_ids", tokens.input_ids)
    save(out, "text_embeddings", features(model.get_text_features(**tokens)) if options.whole else model(**tokens).last_hidden_state[:, 0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", help="folder of a ViTModel or BeitModel")
    parser.add_argument("--text", help="folder of a BertModel")
    parser.add_argument("--whole", help="folder of a CLIPModel or VisionTextDualEncoderModel")
    parser.add_argument("--images", help="folder of images")
    parser.add_argument("--texts", help="a text a line, or a JSON array")
    parser.add_argument("--max-length", type=int, help="tokens of a text at most (default: 40, a CLIP 77)")
    parser.add_argument("--out", required=True, help="folder to write; new")
    options = parser.parse_args()
    out = Path(options.out)
    out.mkdir(parents=True)
    if options.images and (options.whole or options.image):
        make_images(options, out)
    if options.texts and (options.whole or options.text):
        make_texts(options, out)


if __name__ == "__main__":
    main()
