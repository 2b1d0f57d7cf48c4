"""The difference hashes that imagehash makes of fixtures/images/ and of fixtures/formats/manifest/.

    python make_hash_fixtures.py     writes fixtures/hashes.json: 16 hexadecimal digits a file
"""
import json
import warnings
from pathlib import Path

import imagehash
from PIL import Image, ImageOps

warnings.simplefilter("ignore", DeprecationWarning)
FIXTURES = Path(__file__).parent / "fixtures"


def main() -> None:
    files = [FIXTURES / "images" / name for name in sorted(json.load(open(FIXTURES / "images" / "expected.json")))]
    files += sorted((FIXTURES / "formats" / "manifest" / "images").iterdir())
    hashes = {str(file.relative_to(FIXTURES)): str(imagehash.dhash(ImageOps.exif_transpose(Image.open(file)).convert("RGB")))
              for file in files}
    (FIXTURES / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")


if __name__ == "__main__":
    main()
