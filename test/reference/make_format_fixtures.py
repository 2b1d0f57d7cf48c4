"""One data set of four pictures in every format that is read, each laid out as its publisher or a public tool lays it out.

    python make_format_fixtures.py     writes fixtures/formats/NAME/; the cc3m-* ones by img2dataset from a server on 127.0.0.1

Every format holds the same four JPEG files and the same two captions a picture (one where the format has room for one), so that a test
can hold all of them to the vectors of the first.
"""
import csv
import functools
import http.server
import io
import json
import shutil
import tarfile
import tempfile
import threading
from pathlib import Path

import av
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset
from PIL import Image, ImageDraw

OUT = Path(__file__).parent / "fixtures" / "formats"
COLORS = [("red", (220, 30, 30)), ("green", (30, 200, 40)), ("blue", (30, 50, 220)), ("yellow", (230, 220, 30))]
CAPTIONS = [[f"a {name} box, \"small\"", f"there is a {name} square on white"] for name, _ in COLORS]


def picture(index: int) -> bytes:
    image = Image.new("RGB", (16, 16), (250, 250, 250))
    ImageDraw.Draw(image).rectangle((2 + index, 2, 9 + index, 9), fill=COLORS[index][1])
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    return out.getvalue()


PICTURES = [picture(index) for index in range(4)]


def folder(name: str) -> Path:
    path = OUT / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def put(path: Path, index: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PICTURES[index])


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")


def karpathy() -> None:
    for name, coco in (("karpathy-coco", True), ("karpathy-flickr30k", False)):
        images = []
        for index, captions in enumerate(CAPTIONS):
            split = ["train", "restval", "train", "train"][index]
            filename = f"COCO_val2014_{index:012d}.jpg" if coco else f"{1000092795 + index}.jpg"
            where = {"filepath": "val2014", "cocoid": 391895 + index} if coco else {}
            put(folder(name) / ("val2014" if coco else "") / filename, index)
            images.append({**where, "filename": filename, "imgid": index, "split": split if coco else "train",
                           "sentids": [2 * index, 2 * index + 1],
                           "sentences": [{"tokens": text.split(), "raw": text, "imgid": index, "sentid": 2 * index + k}
                                         for k, text in enumerate(captions)]})
        write_json(folder(name) / ("dataset_coco.json" if coco else "dataset_flickr30k.json"),
                   {"dataset": "coco" if coco else "flickr30k", "images": images})


def rows() -> None:
    for index in range(4):
        put(folder("blip") / "val2014" / f"{index}.jpg", index)
        put(folder("albef") / "images" / f"{index}.jpg", index)
    write_json(folder("blip") / "coco_karpathy_train.json", [
        {"caption": text, "image": f"val2014/{index}.jpg", "image_id": f"coco_{index}"}
        for index, captions in enumerate(CAPTIONS) for text in captions])
    write_json(folder("albef") / "pretrain_train.json", [
        {"image": f"images/{index}.jpg", "caption": captions} for index, captions in enumerate(CAPTIONS)])


def coco() -> None:
    for index in range(4):
        put(folder("coco") / "train2014" / f"COCO_train2014_{index:012d}.jpg", index)
    write_json(folder("coco") / "annotations" / "captions_train2014.json", {
        "info": {"year": 2014}, "licenses": [],
        "images": [{"id": index, "file_name": f"COCO_train2014_{index:012d}.jpg", "height": 16, "width": 16} for index in range(4)],
        "annotations": [{"id": 10 * index + k, "image_id": index, "caption": text}
                        for k in range(2) for index, captions in enumerate(CAPTIONS) for text in [captions[k]]]})


def flickr() -> None:
    names = [f"{1000092795 + index}.jpg" for index in range(4)]
    for index, name in enumerate(names):
        put(folder("flickr30k") / "flickr30k-images" / name, index)
        put(folder("flickr30k-kaggle") / "flickr30k_images" / name, index)
    write_lines(folder("flickr30k") / "results_20130124.token",
                [f"{name}#{k}\t{text}" for name, captions in zip(names, CAPTIONS) for k, text in enumerate(captions)])
    lines = [f"{name}| {k}| {text}" for name, captions in zip(names, CAPTIONS) for k, text in enumerate(captions)]
    lines[3] = lines[3].replace("| 1| ", "| 1   ")  # as line 20,000 of Kaggle's file is
    write_lines(folder("flickr30k-kaggle") / "results.csv", ["image_name| comment_number| comment", *lines])


def conceptual() -> None:
    """img2dataset downloads three of four urls of a server of ours, as files and as shards; CC12M's columns are the other way round."""
    from img2dataset import download

    site = Path(tempfile.mkdtemp())
    for index in range(4):
        (site / f"{index}.jpg").write_bytes(PICTURES[index])
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 8123), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    urls = [f"http://127.0.0.1:8123/{index}.jpg" for index in range(4)] + ["http://127.0.0.1:8123/gone.jpg"]
    captions = [texts[0] for texts in CAPTIONS] + ["a picture that is gone"]
    table = site / "list.tsv"
    write_lines(table, ["caption\turl", *[f"{text}\t{url}" for text, url in zip(captions, urls)]])
    for name, form in (("cc3m-files", "files"), ("cc3m-shards", "webdataset")):
        shutil.rmtree(OUT / name, ignore_errors=True)
        download(url_list=str(table), input_format="tsv", url_col="url", caption_col="caption", output_folder=str(folder(name)),
                 output_format=form, image_size=16, resize_mode="no", skip_reencode=True, disallowed_header_directives=[],
                 processes_count=1, thread_count=2, number_sample_per_shard=10000)
        shutil.rmtree(OUT / name / "_tmp", ignore_errors=True)
        write_lines(folder(name) / "Train_GCC-training.tsv", [f"{text}\t{url}" for text, url in zip(captions, urls)])
    server.shutdown()
    for index in range(4):
        put(folder("cc12m-folder") / "images" / f"{index}.jpg", index)
    write_lines(folder("cc12m-folder") / "cc12m.tsv", [f"{url}\t{text}" for text, url in zip(captions, urls)])


def tables() -> None:
    for name in ("csv", "csv-named", "tsv", "jsonl", "jsonl-named", "parquet", "parquet-named"):
        for index in range(4):
            put(folder(name) / f"{index}.jpg", index)
    flat = [(f"{index}.jpg", text) for index, captions in enumerate(CAPTIONS) for text in captions]
    for name, header in (("csv", ["image", "caption"]), ("csv-named", ["bild", "satz"])):
        with open(folder(name) / "pairs.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(flat)
    write_lines(folder("tsv") / "pairs.tsv", ["filepath\ttitle", *[f"{image}\t{text}" for image, text in flat]])
    write_lines(folder("jsonl") / "pairs.jsonl", [json.dumps({"image": image, "text": text}) for image, text in flat])
    write_lines(folder("jsonl-named") / "pairs.jsonl",
                [json.dumps({"bild": f"{index}.jpg", "saetze": captions}) for index, captions in enumerate(CAPTIONS)])
    pq.write_table(pa.table({"image_path": [f"{index}.jpg" for index in range(4)], "captions": CAPTIONS}),
                   folder("parquet") / "pairs.parquet", compression="snappy")
    pq.write_table(pa.table({"bild": [image for image, _ in flat], "satz": [text for _, text in flat]}),
                   folder("parquet-named") / "pairs.parquet")


def manifests() -> None:
    for index, captions in enumerate(CAPTIONS):
        put(folder("manifest") / "images" / f"{index}.jpg", index)
        put(folder("folder") / f"{index}.jpg", index)
        put(folder("folder-captions") / f"{index}.jpg", index)
        write_lines(folder("folder") / f"{index}.txt", captions)
    write_lines(folder("manifest") / "manifest.jsonl", [
        json.dumps({"id": str(index), "image": f"images/{index}.jpg", "captions": captions, "split": "train"})
        for index, captions in enumerate(CAPTIONS)])
    write_lines(folder("folder-captions") / "captions.jsonl", [
        json.dumps({"image": f"{index}.jpg", "captions": captions}) for index, captions in enumerate(CAPTIONS)])


def shards() -> None:
    def writer(name: str, file: str) -> webdataset.TarWriter:
        (folder(name) / file).parent.mkdir(parents=True, exist_ok=True)
        return webdataset.TarWriter(str(folder(name) / file), mtime=0)

    with writer("webdataset", "pairs-000000.tar") as one, writer("webdataset", "pairs-000001.tar") as two:
        for index, captions in enumerate(CAPTIONS):
            (one if index < 3 else two).write({"__key__": f"{index:09d}", "jpg": PICTURES[index], "txt": "\n".join(captions)})
    with writer("webdataset-json", "000.tar") as out:
        for index, captions in enumerate(CAPTIONS):
            out.write({"__key__": str(index), "jpg": PICTURES[index], "json": {"id": index, "about": {"texts": captions}}})
    with writer("webdataset-named", "000.tar") as out:
        for index, captions in enumerate(CAPTIONS):
            out.write({"__key__": str(index), "input.jpg": PICTURES[index], "output.txt": "\n".join(captions)})
    # CLIP_benchmark's layout: a folder a split, shards without zeros in front, the number of them in a file.
    with writer("clip-benchmark", "train/0.tar") as out:
        for index, captions in enumerate(CAPTIONS):
            out.write({"__key__": f"s{index:07d}", "jpg": PICTURES[index], "txt": "\n".join(captions)})
    (folder("clip-benchmark") / "train" / "nshards.txt").write_text("1\n")
    (folder("clip-benchmark") / "dataset_type.txt").write_text("retrieval\n")


def clip(index: int) -> bytes:
    """Four frames of 16 x 16 pixels in MP4."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        image = Image.open(io.BytesIO(PICTURES[index]))
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode(None))
    return out.getvalue()


def clips() -> None:
    """MSR-VTT's own files, the 1k-A lists, Frozen-in-Time's and LAVIS' copies, a table and shards, all of the same four clips."""
    root = folder("clips")
    contents = [clip(index) for index in range(4)]
    ids = [f"video{index}" for index in range(4)]
    for name, content in zip(ids, contents):
        path = root / "videos" / "all" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    sentences = [{"caption": captions[k], "video_id": name, "sen_id": 4 * k + index}
                 for k in range(2) for index, (name, captions) in enumerate(zip(ids, CAPTIONS))]
    write_json(root / "MSRVTT_data.json", {
        "info": {}, "videos": [{"video_id": name, "split": "train", "category": 9, "url": f"https://v.example/{name}", "start time": 1.0,
                                "end time": 2.0, "id": index} for index, name in enumerate(ids)], "sentences": sentences})
    write_lines(root / "MSRVTT_train.9k.csv", ["video_id", *ids])
    with open(root / "MSRVTT_JSFUSION_test.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "vid_key", "video_id", "sentence"])
        writer.writerows([f"ret{index}", f"msr{index}", name, CAPTIONS[index][0]] for index, name in enumerate(ids))
    frozen = root / "frozen"
    write_json(frozen / "annotation" / "MSR_VTT.json", {"images": [{"id": name} for name in ids], "annotations": [
        {"image_id": row["video_id"], "id": row["sen_id"], "caption": row["caption"]} for row in sentences]})
    write_json(frozen / "annotation" / "jsfusion_val_caption_idx.json", {name: index % 2 for index, name in enumerate(ids)})
    for name in ("train_list_jsfusion.txt", "val_list_jsfusion.txt"):
        write_lines(frozen / "high-quality" / "structured-symlinks" / name, ids)
    write_json(root / "retrieval_train.json", [
        {"video": f"{name}.mp4", "caption": text} for name, captions in zip(ids, CAPTIONS) for text in captions])
    write_lines(root / "clips.csv", ["video,caption", *[f'videos/all/{name}.mp4,"{text.replace(chr(34), chr(34) * 2)}"'
                                                        for name, captions in zip(ids, CAPTIONS) for text in captions]])
    with webdataset.TarWriter(str(root / "clips-000.tar"), mtime=0) as out:
        for index, captions in enumerate(CAPTIONS):
            out.write({"__key__": f"{index:09d}", "mp4": contents[index], "txt": "\n".join(captions)})


def tar_traps() -> None:
    """Names that leave the folder, links, devices, twice the same key, a hostile size: nothing may be followed or believed."""
    with tarfile.open(folder("traps") / "names.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        def add(name: str, content: bytes, kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(content))

        add("../../escape.jpg", PICTURES[0])
        add("../../escape.txt", b"a name that leaves the folder")
        add("/etc/absolute.jpg", PICTURES[1])
        add("/etc/absolute.txt", b"an absolute name")
        add("symbolic.jpg", b"", tarfile.SYMTYPE, "/etc/passwd")
        add("symbolic.txt", b"a link")
        add("hard.jpg", b"", tarfile.LNKTYPE, "../../escape.jpg")
        add("hard.txt", b"a hard link")
        add("device.jpg", b"", tarfile.CHRTYPE)
        add("pipe.jpg", b"", tarfile.FIFOTYPE)
        add("esc\x1b[31m\n.jpg", PICTURES[2])
        add("esc\x1b[31m\n.txt", b"a \x1b[31mred\x07 text\x00 and\r\nanother")
    with tarfile.open(folder("traps") / "twice.tar", "w") as tar:
        for _ in range(2):
            for name, content in (("a.jpg", PICTURES[0]), ("a.txt", b"the same key again")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    header = tarfile.TarInfo("huge.jpg")
    header.size = 2**50
    (folder("traps") / "huge.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + PICTURES[0])


if __name__ == "__main__":
    for make in (karpathy, rows, coco, flickr, tables, manifests, shards, clips, tar_traps, conceptual):
        make()
