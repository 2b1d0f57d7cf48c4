"""JPEGs at a part of their size, as Pillow's `draft` decodes them.

    python make_draft_fixtures.py        writes fixtures/draft/: a picture of many blocks, and expected.json

expected.json has, by file (of fixtures/images too) and by what the sides are divided by, ImageOps.exif_transpose(image).convert("RGB")
after image.draft(): base64 of the RGB bytes.
"""
import base64
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

FIXTURES = Path(__file__).parent / "fixtures"
OUT = FIXTURES / "draft"


def drafted(file, shrink):
    with Image.open(file) as image:
        width, height = image.size
        if min(width, height) < shrink:
            return None
        image.draft("RGB", (width // shrink, height // shrink))
        rgb = ImageOps.exif_transpose(image).convert("RGB")
    return {"width": rgb.width, "height": rgb.height, "rgb": base64.b64encode(rgb.tobytes()).decode()}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[0:53, 0:75]
    noise = np.random.RandomState(3).randint(0, 60, (53, 75, 3))
    values = np.stack([x * 3, y * 4, (x + y) * 2], -1) + noise
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray((values % 256).astype(np.uint8)).save(OUT / "turned.jpg", quality=85, subsampling="4:2:0", exif=exif)
    files = [*sorted((FIXTURES / "images").glob("*.jpg")), OUT / "turned.jpg"]
    expected = {}
    for file in files:
        if Image.open(file).mode == "CMYK":
            continue
        sizes = {str(shrink): drafted(file, shrink) for shrink in (2, 4, 8)}
        expected[str(file.relative_to(FIXTURES))] = {shrink: size for shrink, size in sizes.items() if size}
    (OUT / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")


if __name__ == "__main__":
    main()
