"""Small image files of awkward kinds and the RGB bytes that Pillow makes of them.

    python make_image_fixtures.py        writes fixtures/images/: the files, and expected.json (base64 RGB a file)

"expected" is ImageOps.exif_transpose(image).convert("RGB"); "unturned" leaves the EXIF orientation alone.
"""
import base64
import json
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

warnings.simplefilter("ignore", DeprecationWarning)
OUT = Path(__file__).parent / "fixtures" / "images"
rng = np.random.RandomState(7)


def picture(height, width, channels):
    """Smooth color with noise, so that swapped rows, columns or channels show."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * 9 + y * 17 * (c + 1) + rng.randint(0, 40, (height, width))) % 256 for c in range(channels)]
    return np.stack(planes, -1).astype(np.uint8)


def write_png16(name, values, color_type):
    """A 16-bit PNG by hand: Pillow writes only gray ones."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + values[y].astype(">u2").tobytes() for y in range(height))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (OUT / name).write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def strange_profile():
    """sRGB with red and green swapped: whoever applies it changes the colors."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"tXYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"tXYZ", b"gXYZ", 1)


def write_files():
    Image.fromarray(picture(9, 7, 3)).save(OUT / "rgb.png")
    Image.fromarray(picture(9, 7, 3)).save(OUT / "rgb.jpg")
    Image.fromarray(picture(9, 7, 3)).save(OUT / "progressive.jpg", progressive=True)
    Image.fromarray(picture(9, 7, 3)).save(OUT / "rgb.gif")
    Image.fromarray(picture(9, 7, 3)).save(OUT / "rgb.webp", lossless=True)
    Image.fromarray(picture(9, 7, 4), "RGBA").save(OUT / "rgba.png")
    Image.fromarray(picture(9, 7, 4), "RGBA").save(OUT / "rgba.webp", lossless=True, exact=True)
    Image.fromarray(picture(9, 7, 2), "LA").save(OUT / "gray-alpha.png")
    Image.fromarray(picture(9, 7, 1)[:, :, 0]).save(OUT / "gray.png")
    Image.fromarray(picture(9, 7, 1)[:, :, 0]).save(OUT / "gray.jpg")
    Image.fromarray(picture(9, 7, 3)).convert("1").save(OUT / "bits.png")
    Image.fromarray(picture(9, 7, 3)).quantize(16).save(OUT / "palette.png")
    Image.fromarray(picture(9, 7, 3)).quantize(16).save(OUT / "palette-transparent.png", transparency=3)
    Image.fromarray(picture(9, 7, 4), "CMYK").save(OUT / "cmyk.jpg")
    Image.fromarray(picture(9, 7, 4), "CMYK").save(OUT / "cmyk.tif")
    Image.fromarray(rng.randint(0, 600, (9, 7)).astype(np.uint16)).save(OUT / "gray16.png")
    Image.fromarray(rng.randint(0, 65536, (9, 7)).astype(np.uint16)).save(OUT / "gray16.tif")
    write_png16("rgb16.png", rng.randint(0, 65536, (9, 7, 3)), 2)
    write_png16("gray-alpha16.png", rng.randint(0, 65536, (9, 7, 2)), 4)
    write_png16("rgba16.png", rng.randint(0, 65536, (9, 7, 4)), 6)
    Image.fromarray(picture(1, 1, 3)).save(OUT / "one-pixel.png")
    Image.fromarray(picture(9, 7, 3)).save(OUT / "profile.png", icc_profile=strange_profile())
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        Image.fromarray(picture(9, 7, 3)).save(OUT / f"exif-{orientation}.jpg", exif=exif)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    write_files()
    expected = {}
    for file in sorted(OUT.glob("*.*")):
        if file.suffix == ".json":
            continue
        image = Image.open(file)
        row = {"mode": image.mode}
        for key, turned in (("expected", ImageOps.exif_transpose(image)), ("unturned", image)):
            rgb = turned.convert("RGB")
            row[key] = {"width": rgb.width, "height": rgb.height, "rgb": base64.b64encode(rgb.tobytes()).decode()}
        if row["unturned"] == row["expected"]:
            del row["unturned"]
        expected[file.name] = row
    (OUT / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")


if __name__ == "__main__":
    main()
