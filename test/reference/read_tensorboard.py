"""Reads the event files of a folder with TensorBoard's own reader and prints them as JSON: { tag: [[step, value], ...] }.

    python3 -m venv venv && venv/bin/pip install tensorboard==2.21.0 'setuptools<81'
    venv/bin/python test/reference/read_tensorboard.py RUN/tensorboard

With `--golden FILE` it writes FILE with TensorBoard's own writer instead (test/reference/fixtures/tensorboard.tfevents).
"""
import json
import sys

GOLDEN = [("loss/total", 1, 5.4321), ("optim/lr", 300, 1.9e-3), ("filter/mean", 2_000_000_000_000, -0.25), ("loss/cmvm", 4, float("nan"))]


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(folder, size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return {tag: [[event.step, event.value] for event in events.Scalars(tag)] for tag in sorted(events.Tags()["scalars"])}


def golden(file):
    """What event-file.ts must write byte for byte: version, start of a resumed run, then a scalar an event."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    with open(file, "wb") as out:
        writer = RecordWriter(out)
        writer.write(Event(wall_time=1.5, step=0, file_version="brain.Event:2").SerializeToString())
        writer.write(Event(wall_time=2.5, step=301, session_log=SessionLog(status=SessionLog.START)).SerializeToString())
        for tag, step, value in GOLDEN:
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.write(Event(wall_time=1_790_000_000.25, step=step, summary=summary).SerializeToString())


if __name__ == "__main__":
    if sys.argv[1] == "--golden":
        golden(sys.argv[2])
    else:
        print(json.dumps(read(sys.argv[1])))
