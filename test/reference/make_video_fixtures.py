"""Two tiny clips and what PyAV makes of them.

    python make_video_fixtures.py        writes fixtures/video/: the clips, expected.json and expected.bin

`rgb.mp4` is lossless H.264 in RGB, so that its pixels do not depend on a color conversion; `yuv.mp4` is H.264 4:2:0. Both have B-frames, a
keyframe every 16 frames and uneven times. expected.json has each frame's time in seconds and the SHA-256 of its RGB bytes; yuv.bin the RGB
bytes of `yuv.mp4` too, frame after frame.
"""
import hashlib
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

OUT = Path(__file__).parent / "fixtures" / "video"
WIDTH, HEIGHT, FRAMES = 46, 34, 40
rng = np.random.RandomState(3)
noise = rng.randint(0, 60, (HEIGHT, WIDTH, 3))


def picture(index):
    """A box that moves over a slope that turns: each frame is unlike the others."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    image = np.stack([(4 * x + 5 * index) % 256, (5 * y + 3 * index) % 256, (x * y // 8 + 7 * index) % 256], -1)
    image = np.clip(image * 3 // 4 + noise, 0, 255)
    left = index % (WIDTH - 8)
    image[8:16, left : left + 8] = (255, 6 * index, 0)
    return image.astype(np.uint8)


def write(name, codec, pixel_format, options):
    container = av.open(str(OUT / name), "w")
    stream = container.add_stream(codec, rate=25, options=options)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
    stream.codec_context.time_base = Fraction(1, 1000)
    for index in range(FRAMES):
        frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24").reformat(format=pixel_format)
        frame.pts = 40 * index + (index % 3) * 7
        frame.time_base = Fraction(1, 1000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
    container.close()


def read(name):
    with av.open(str(OUT / name)) as container:
        frames = list(container.decode(video=0))
    return [frame.time for frame in frames], [frame.to_ndarray(format="rgb24") for frame in frames]


OUT.mkdir(exist_ok=True)
options = {"crf": "0", "keyint": "16", "g": "16", "bf": "3", "preset": "medium", "threads": "1"}
write("rgb.mp4", "libx264rgb", "rgb24", options)
write("yuv.mp4", "libx264", "yuv420p", {**options, "crf": "23"})
expected = {"width": WIDTH, "height": HEIGHT}
for name in ("rgb", "yuv"):
    times, images = read(f"{name}.mp4")
    assert len(images) == FRAMES
    if name == "rgb":
        assert all((images[i] == picture(i)).all() for i in range(FRAMES))
    expected[name] = {"times": times, "sha256": [hashlib.sha256(image.tobytes()).hexdigest() for image in images]}
    if name == "yuv":
        (OUT / "yuv.bin").write_bytes(np.stack(images).tobytes())
(OUT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
