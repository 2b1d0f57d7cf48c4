"""The annotation files of public data sets in small, each written as its publisher or a public tool writes it.

    python make_dataset_fixtures.py     writes fixtures/datasets/

The layouts are those that pycocotools, BLIP, ALBEF, Frozen-in-Time and the Kaggle copy of Flickr30K use. The readers of
annotation files only name pictures, so there are none; the shards hold real ones of 8 x 8 pixels.
"""
import csv
import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import webdataset
from PIL import Image

OUT = Path(__file__).parent / "fixtures" / "datasets"


def write_json(name: str, value: object) -> None:
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def blip() -> None:
    write_json("blip/coco_karpathy_train.json", [
        {"caption": "A man with a red helmet.", "image": "val2014/COCO_val2014_000000522418.jpg", "image_id": "coco_522418"},
        {"caption": "A woman cutting a cake.", "image": "train2014/COCO_train2014_000000318219.jpg", "image_id": "coco_318219"},
        {"caption": "The man rides.", "image": "val2014/COCO_val2014_000000522418.jpg", "image_id": "coco_522418"},
    ])
    write_json("blip/coco_karpathy_val.json", [
        {"image": "val2014/COCO_val2014_000000184613.jpg", "caption": ["A child holding an umbrella.", "A boy, in the rain."]},
    ])
    write_json("blip/albef_cc3m.json", [
        {"image": "/data/cc3m/0.jpg", "caption": "a very typical bus station"},
        {"image": "/data/cc3m/1.jpg", "caption": ["sierra looked stunning", "a dress"]},
    ])


def coco() -> None:
    write_json("coco/annotations/captions_val2014.json", {
        "info": {"year": 2014}, "licenses": [],
        "images": [
            {"id": 391895, "file_name": "COCO_val2014_000000391895.jpg", "height": 360, "width": 640, "license": 3},
            {"id": 522418, "file_name": "COCO_val2014_000000522418.jpg", "height": 480, "width": 640, "license": 3},
        ],
        "annotations": [
            {"id": 770337, "image_id": 391895, "caption": "A man with a red helmet on a small moped."},
            {"id": 681330, "image_id": 522418, "caption": "A woman wearing a net on her head."},
            {"id": 771687, "image_id": 391895, "caption": "Man riding a motor bike."},
        ],
    })
    write_json("coco/annotations/instances_val2014.json", {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 1, "width": 1}], "annotations": [], "categories": [],
    })
    (OUT / "coco" / "val2014").mkdir(parents=True, exist_ok=True)
    (OUT / "coco" / "val2014" / "COCO_val2014_000000391895.jpg").write_bytes(b"")


def flickr() -> None:
    (OUT / "flickr").mkdir(parents=True, exist_ok=True)
    (OUT / "flickr" / "results_20130124.token").write_text(
        "1000092795.jpg#0\tTwo young guys with shaggy hair .\n"
        "1000092795.jpg#1\tTwo young , White males are outside near many bushes .\n"
        "10002456.jpg#0\tSeveral men in hard hats # 2 .\n", encoding="utf-8")
    (OUT / "flickr" / "results.csv").write_text(
        "image_name| comment_number| comment\n"
        "1000092795.jpg| 0| Two young guys with shaggy hair .\n"
        "1000092795.jpg| 1| Two young , White males .\n", encoding="utf-8")


def msrvtt() -> None:
    write_json("msrvtt/MSRVTT_data.json", {
        "info": {}, "videos": [
            {"video_id": "video0", "split": "train", "category": 9, "url": "https://v.example/0", "start time": 1.0, "end time": 2.0, "id": 0},
            {"video_id": "video6513", "split": "validate", "category": 1, "url": "https://v.example/1", "start time": 1.0, "end time": 2.0, "id": 1},
        ],
        "sentences": [
            {"caption": "a car is shown", "video_id": "video0", "sen_id": 0},
            {"caption": "a group is dancing", "video_id": "video6513", "sen_id": 1},
            {"caption": "a car drives", "video_id": "video0", "sen_id": 2},
        ],
    })
    write_json("msrvtt/frozen/MSR_VTT.json", {
        "images": [{"id": "video0"}], "annotations": [{"image_id": "video0", "id": 0, "caption": "a car is shown"}],
    })
    with open(OUT / "msrvtt" / "MSRVTT_JSFUSION_test.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "vid_key", "video_id", "sentence"])
        writer.writerow(["ret0", "msr9770", "video9770", "a person is connecting something to system"])
        writer.writerow(["ret1", "msr9771", "video9771", "a little girl does gymnastics, \"well\""])
    (OUT / "msrvtt" / "MSRVTT_train.9k.csv").write_text("video_id\nvideo0\nvideo6513\n", encoding="utf-8")


def tables() -> None:
    folder = OUT / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "photos.csv", "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "title", "split"])
        writer.writerow(["a.jpg", "a red bus, \"old\"\nand big", "train"])
        writer.writerow(["b.jpg", "ein Bär", "test"])
        writer.writerow(["a.jpg", "the bus", "train"])
    pq.write_table(pa.table({
        "image_path": ["a.jpg", "b.jpg"], "captions": [["a red bus", "the bus"], ["a bear"]], "key": ["k0", "k1"],
    }), folder / "photos.parquet", compression="snappy")
    pq.write_table(pa.table({"video": ["a.mp4"], "text": ["a clip"]}), folder / "clips.parquet")


def picture(value: int, format: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (value, 255 - value, 90)).save(out, format)
    return out.getvalue()


def shards() -> None:
    folder = OUT / "shards" / "train"
    folder.mkdir(parents=True, exist_ok=True)
    # webdataset's own writer: text, several captions in a JSON, endings in capitals.
    with webdataset.TarWriter(str(folder / "000000.tar"), mtime=0) as writer:
        writer.write({"__key__": "000000000", "png": picture(10), "txt": "a dark picture\nten\n"})
        writer.write({"__key__": "deep/000000001", "JPG": picture(90, "JPEG"), "json": {"caption": "ninety", "width": 8}})
        writer.write({"__key__": "000000002", "webp": picture(170, "WEBP"), "txt": "unread", "json": {"captions": ["a", "b"]}})
    # Python's tarfile: pax and GNU long names, a folder, a link out of the archive, a sample without a picture.
    for name, format in (("000001.tar", tarfile.PAX_FORMAT), ("000002.tar", tarfile.GNU_FORMAT)):
        with tarfile.open(folder / name, "w", format=format) as tar:
            def add(path: str, content: bytes) -> None:
                info = tarfile.TarInfo(path)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))

            directory = tarfile.TarInfo("pictures")
            directory.type = tarfile.DIRTYPE
            tar.addfile(directory)
            long = "pictures/" + "\u00e4" * 120
            add(long + ".png", picture(30))
            add(long + ".txt", b"a long name")
            link = tarfile.TarInfo("link.png")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
            add("alone.txt", b"no picture")
            add("last.cls", b"3")
            add("last.png", picture(60))
    with tarfile.open(OUT / "shards" / "labels.tar", "w") as tar:
        info = tarfile.TarInfo("a.cls")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"3"))


if __name__ == "__main__":
    for make in (blip, coco, flickr, msrvtt, tables, shards):
        make()
