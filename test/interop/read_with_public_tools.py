"""Reads what cots wrote with the tools that others read it with, and says so, a line a check.

    python read_with_public_tools.py FOLDER FIXTURES

FOLDER is what scripts/interop.mjs made: manifest.jsonl and its images, shards/ and small/ by `cots data pack`, embeddings/ by `cots embed`,
index/ by `cots index`. FIXTURES are test/reference/fixtures/formats, where img2dataset's own output is.
"""
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import webdataset
from PIL import Image

FOLDER, FIXTURES = Path(sys.argv[1]), Path(sys.argv[2])
ENTRIES = [json.loads(line) for line in open(FOLDER / "manifest.jsonl", encoding="utf-8")]


def pixels(source) -> np.ndarray:
    return np.asarray(Image.open(source).convert("RGB"))


def webdataset_reads_shards() -> None:
    urls = sorted(str(path) for path in (FOLDER / "shards").glob("*.tar"))
    assert len(urls) == 3, urls
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pilrgb"))
    assert len(samples) == len(ENTRIES), len(samples)
    for sample, entry in zip(samples, ENTRIES):
        assert (np.asarray(sample["png"]) == pixels(FOLDER / entry["image"])).all(), sample["__key__"]
        assert sample["txt"].split("\n") == entry["captions"], sample["txt"]
        assert sample["json"]["captions"] == entry["captions"] and sample["json"]["id"] == entry["id"]


def webdataset_reads_a_brace_range() -> None:
    dataset = webdataset.WebDataset(str(FOLDER / "shards" / "{00000..00002}.tar"), shardshuffle=False)
    assert sum(1 for _ in dataset) == len(ENTRIES)


def resized_shards_are_jpegs_of_that_side() -> None:
    for sample in webdataset.WebDataset(str(FOLDER / "small" / "00000.tar"), shardshuffle=False).decode("pilrgb"):
        assert sample["jpg"].size == (16, 16), sample["jpg"].size


def shards_have_img2datasets_layout() -> None:
    theirs, ours = FIXTURES / "cc3m-shards", FOLDER / "shards"
    names = lambda folder: {path.name for path in folder.iterdir() if path.name.startswith("00000")}
    assert names(ours) == names(theirs), (names(ours), names(theirs))
    theirs_table, table = pq.read_table(theirs / "00000.parquet"), pq.read_table(ours / "00000.parquet")
    shared = ["url", "key", "status", "error_message", "caption", "width", "height", "original_width", "original_height", "sha256"]
    for name in shared:
        want, got = theirs_table.schema.field(name).type, table.schema.field(name).type
        assert want == got, (name, want, got)
    keys = [row["key"] for row in table.to_pylist() if row["status"] == "success"]
    members = tarfile.open(ours / "00000.tar").getnames()
    assert [name.split(".")[0] for name in members[::3]] == keys and keys[0] == "000000000", keys
    endings = lambda file: sorted({name.split(".", 1)[1] for name in tarfile.open(file).getnames()} - {"jpg", "png"})
    assert endings(ours / "00000.tar") == endings(theirs / "00000.tar")
    stats, their_stats = (json.load(open(folder / "00000_stats.json")) for folder in (ours, theirs))
    assert set(their_stats) - set(stats) == {"duration", "start_time", "end_time"}, stats
    assert stats["count"] == table.num_rows and stats["successes"] == len(keys)


def parquet_of_shards_tells_the_truth() -> None:
    import hashlib

    table = pq.read_table(FOLDER / "small" / "00000.parquet").to_pylist()
    tar = tarfile.open(FOLDER / "small" / "00000.tar")
    for row in table:
        content = tar.extractfile(row["key"] + ".jpg").read()
        assert hashlib.sha256(content).hexdigest() == row["sha256"]
        assert Image.open(io.BytesIO(content)).size == (row["width"], row["height"])
        assert (row["original_width"], row["original_height"]) == (24, 24)


def numpy_reads_embeddings() -> None:
    for name, count in (("img_emb", len(ENTRIES)), ("text_emb", 2 * len(ENTRIES))):
        base = FOLDER / ("embeddings" if name == "img_emb" else "texts")
        matrix = np.concatenate([np.load(file, allow_pickle=False) for file in sorted((base / name).glob("*.npy"))])
        assert matrix.shape == (count, 8) and matrix.dtype == np.float32, (matrix.shape, matrix.dtype)
        assert np.abs(np.linalg.norm(matrix, axis=1) - 1).max() < 1e-5


def pyarrow_reads_metadata() -> None:
    files = sorted((FOLDER / "embeddings" / "metadata").glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert [row["image_path"].endswith(entry["image"]) for row, entry in zip(rows, ENTRIES)] == [True] * len(ENTRIES)
    assert [row["caption"] for row in rows] == [entry["captions"][0] for entry in ENTRIES]


def numpy_reads_the_index() -> None:
    manifest = json.load(open(FOLDER / "index" / "manifest.json"))
    vectors = np.fromfile(FOLDER / "index" / "vectors.bin", dtype=np.float32).reshape(len(ENTRIES), 8)
    ids = [json.loads(line) for line in open(FOLDER / "index" / "ids.jsonl", encoding="utf-8")]
    assert len(ids) == len(ENTRIES) and manifest["rows"] == len(ENTRIES), manifest
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5


def main() -> int:
    failed = 0
    checks = [webdataset_reads_shards, webdataset_reads_a_brace_range, resized_shards_are_jpegs_of_that_side,
              shards_have_img2datasets_layout, parquet_of_shards_tells_the_truth, numpy_reads_embeddings,
              pyarrow_reads_metadata, numpy_reads_the_index]
    for check in checks:
        try:
            check()
            print(f"ok {check.__name__}")
        except Exception as error:  # each check is told, also after one that failed
            failed += 1
            print(f"not ok {check.__name__}: {type(error).__name__}: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
