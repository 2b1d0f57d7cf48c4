"""N uniform frames of clips as RGB arrays, by PyAV or decord, two clips at a time.

    python video_frames.py av|decord WORKERS THREADS        THREADS of each decoder

PyAV decodes from the beginning to the last frame wanted and converts the wanted ones; decord's get_batch seeks and decodes by itself.
"""
import hashlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from peer import serve, versions

library, workers, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def middles(length, count):
    parts = min(count, length)
    bounds = [part * length // parts for part in range(parts + 1)]
    return [(start + end) // 2 for start, end in zip(bounds, bounds[1:])]


if library == "av":
    import av

    def frames_of(path, count):
        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = threads
            wanted = middles(stream.frames, count)
            found, left = [], set(wanted)
            for index, frame in enumerate(container.decode(stream)):
                if index in left:
                    found.append(frame.to_ndarray(format="rgb24"))
                    if len(found) == len(wanted):
                        return found

else:
    import decord

    def frames_of(path, count):
        reader = decord.VideoReader(path, num_threads=threads)
        return list(reader.get_batch(middles(len(reader), count)).asnumpy())


pool = ThreadPoolExecutor(workers)


def run(clips, frames):
    start = time.perf_counter()
    items = sum(len(found) for found in pool.map(lambda clip: frames_of(clip, frames), clips))
    return {"seconds": time.perf_counter() - start, "items": items}


def hashes(clip, frames):
    """SHA-256 of each frame, for a look at whether all give the same."""
    return {"hashes": [hashlib.sha256(frame.tobytes()).hexdigest() for frame in frames_of(clip, frames)]}


serve({"run": run, "hashes": hashes}, versions("av" if library == "av" else "decord", "numpy"))
