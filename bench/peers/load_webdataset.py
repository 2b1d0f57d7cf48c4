"""The loader peer: webdataset, Pillow, and torchvision's training transforms written with Pillow, in worker processes.

    python load_webdataset.py SHARD... --workers 2 --batch-size 64

One crop (RandomResizedCrop), flip and color jitter (ColorJitter) an image, then two views of it, as configs/base.yaml has it. What torchvision
does to a PIL image is Pillow's crop, ImageEnhance and resize; called directly they cost less than through torchvision.
"""
import argparse
import base64
import io
import math
import os
import random
import tarfile
import time

import numpy as np
import webdataset
from peer import serve, versions
from PIL import Image, ImageEnhance

SCALE, RATIO, JITTER = (0.2, 1.0), (3 / 4, 4 / 3), 0.4
VIEWS = ((224, Image.Resampling.BICUBIC), (112, Image.Resampling.LANCZOS))
ENHANCE = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


def random_box(width, height):
    """torchvision's RandomResizedCrop.get_params."""
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    for _ in range(10):
        area = width * height * random.uniform(*SCALE)
        aspect = math.exp(random.uniform(low, high))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return random.randint(0, width - w), random.randint(0, height - h), w, h
    return 0, 0, width, height


def draw(width, height):
    left, top, w, h = random_box(width, height)
    factors = [random.uniform(1 - JITTER, 1 + JITTER) for _ in ENHANCE]
    return {
        "box": (left, top, w, h),
        "flip": random.random() < 0.5,
        "factors": factors,
        "order": random.randrange(6),
    }


def views_of(image, transform):
    """The two views as RGB bytes."""
    left, top, width, height = transform["box"]
    image = image.crop((left, top, left + width, top + height))
    for one in ORDERS[transform["order"]]:
        image = ENHANCE[one](image).enhance(transform["factors"][one])
    if transform["flip"]:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return [image.resize((size, size), filter) for size, filter in VIEWS]


def load(sample):
    image = Image.open(io.BytesIO(sample["jpg"])).convert("RGB")
    return [np.asarray(view) for view in views_of(image, draw(image.width, image.height))]


def collate(samples):
    return [np.stack(views) for views in zip(*samples)]


class Loader:
    """An epoch a round: every shard once, no batch made before it is asked for. The processes live on between rounds."""

    def __init__(self, shards, workers, batch_size):
        self.batch_size = batch_size
        data = webdataset.WebDataset(shards, shardshuffle=len(shards), seed=0, empty_check=False).shuffle(256).map(load)
        self.loader = webdataset.WebLoader(
            data.batched(batch_size, collation_fn=collate),
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=2 if workers > 0 else None,
        )

    def run(self):
        start = time.perf_counter()
        items = sum(len(batch[0]) for batch in self.loader)
        return {"seconds": time.perf_counter() - start, "items": items}


def pixels(shard, samples):
    """The views of given members under given transforms, as base64."""
    answers = []
    with tarfile.open(shard) as tar:
        for sample in samples:
            image = Image.open(tar.extractfile(sample["member"])).convert("RGB")
            answers.append([base64.b64encode(view.tobytes()).decode() for view in views_of(image, sample["transform"])])
    return {"views": answers}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()
    loader = Loader(options.shards, options.workers, options.batch_size)
    serve({"run": loader.run, "pixels": pixels}, versions("webdataset", "pillow", "torch", "numpy"))


if __name__ == "__main__":
    main()
