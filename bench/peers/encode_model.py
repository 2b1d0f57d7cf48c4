"""ViT-B/16 at 384 and BERT-base in PyTorch, ONNX Runtime and OpenVINO, each in the number types it is good at.

    python encode_model.py FOLDER THREADS

Random weights by transformers, written to FOLDER/image and FOLDER/text as save_pretrained does (the product imports them), exported once
to ONNX. Every engine returns the last hidden states, as such an export does. int8 is ONNX Runtime's dynamic quantization of the products
with weights and OpenVINO's model quantized by NNCF for transformers; bfloat16 is the model in that type in PyTorch and OpenVINO's hint.
"""
import copy
import os
import sys
import time

import nncf
import numpy as np
import onnxruntime
import openvino
import torch

from peer import serve, versions
from tower_export import States, export, inputs_of, quantize, save_towers

folder, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)

engines = {}

def prepare(vocabulary):
    """`vocabulary`: words of the text tower, a line each in FOLDER/text/vocab.txt."""
    for tower, model in save_towers(folder, vocabulary).items():
        states, file = States(model, inputs_of[tower]).eval(), os.path.join(folder, tower + ".onnx")
        quantized = file.replace(".onnx", "-int8.onnx")
        export(tower, model, file)
        quantize(file, quantized)
        engines["pytorch", tower, "float32"] = pytorch_engine(states)
        engines["pytorch", tower, "bfloat16"] = pytorch_engine(States(model, inputs_of[tower]).eval(), torch.bfloat16)
        engines["onnxruntime", tower, "float32"] = onnx_engine(file)
        engines["onnxruntime", tower, "int8"] = onnx_engine(quantized)
        graph = openvino.Core().read_model(file)
        engines["openvino", tower, "float32"] = openvino_engine(graph)
        engines["openvino", tower, "bfloat16"] = openvino_engine(graph, "bf16")
        engines["openvino", tower, "int8"] = openvino_engine(quantized_by_nncf(graph, samples_of[tower](vocabulary)))

def pytorch_engine(states, dtype=torch.float32):
    states = copy.deepcopy(states).to(dtype)

    def run(*arrays):
        tensors = [torch.from_numpy(array) for array in arrays]
        with torch.inference_mode():
            return states(*[one.to(dtype) if one.is_floating_point() else one for one in tensors]).float().numpy()

    return run

def quantized_by_nncf(graph, samples):
    return nncf.quantize(graph.clone(), nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER,
                         subset_size=len(samples))

def image_samples(_):
    """Noise pictures, normalized: what the towers are timed on."""
    random = np.random.default_rng(1)
    return [random.integers(0, 256, (1, 3, 384, 384)).astype(np.float32) / np.float32(127.5) - 1 for _ in range(8)]

def text_samples(vocabulary):
    random = np.random.default_rng(1)
    rows = [random.integers(1000, vocabulary, (1, length)) for length in range(7, 39)]
    return [(row, np.ones_like(row)) for row in rows]

samples_of = {"image": image_samples, "text": text_samples}

def onnx_engine(file):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays)))[0]

def openvino_engine(graph, hint="f32"):
    model = openvino.Core().compile_model(graph, "CPU", {
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint})
    request = model.create_infer_request()
    return lambda *arrays: request.infer(list(arrays))[model.output(0)]

def timed(calls):
    """Runs the calls; the whole time, and the spread of one."""
    each = []
    start = time.perf_counter()
    for call in calls:
        before = time.perf_counter()
        call()
        each.append(1000 * (time.perf_counter() - before))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "p50Ms": float(np.percentile(each, 50)), "p99Ms": float(np.percentile(each, 99))}

def pixels(file, count):
    """uint8 [count, 384, 384, 3] of a file, normalized as transformers does: mean and std 0.5."""
    images = np.fromfile(file, dtype=np.uint8, count=count * 384 * 384 * 3).reshape(count, 384, 384, 3)
    return np.ascontiguousarray(((images / np.float32(255) - np.float32(0.5)) / np.float32(0.5)).transpose(0, 3, 1, 2))

def images(engine, precision, file, batch, repeat):
    """`repeat` batches, normalized before the clock starts."""
    array = pixels(file, batch)
    run = engines[engine, "image", precision]
    return {**timed([lambda: run(array)] * repeat), "items": batch * repeat}

def texts(engine, precision, ids, batch):
    """Batches of `batch` texts in their order, each padded to its longest."""
    run = engines[engine, "text", precision]
    calls = []
    for first in range(0, len(ids), batch):
        rows = ids[first:first + batch]
        longest = max(map(len, rows))
        padded = np.array([row + [0] * (longest - len(row)) for row in rows], dtype=np.int64)
        mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows], dtype=np.int64)
        calls.append(lambda padded=padded, mask=mask: run(padded, mask))
    return {**timed(calls), "items": len(ids)}

def first_states(engine, precision, file, ids):
    """Unit rows of the CLS state of one image and one text: what the product's embeddings must equal."""
    def unit(states):
        return (states[0, 0] / np.linalg.norm(states[0, 0])).tolist()

    row = np.array([ids], dtype=np.int64)
    return {"image": unit(engines[engine, "image", precision](pixels(file, 1))),
            "text": unit(engines[engine, "text", precision](row, np.ones_like(row)))}

serve({"prepare": prepare, "images": images, "texts": texts, "first_states": first_states},
      versions("torch", "transformers", "onnxruntime", "openvino", "nncf"))
