"""The towers as folders that transformers.js loads: config, rules, tokenizer, and ONNX in float32 and int8.

    python onnx_folders.py FOLDER

FOLDER/text has vocab.txt; FOLDER/image and FOLDER/text are written as save_pretrained does (the product imports them), with onnx/model.onnx
and onnx/model_quantized.onnx inside.
"""
import os
import sys

from transformers import BertTokenizerFast

from peer import serve, versions
from tower_export import export, quantize, save_towers

folder = sys.argv[1]


def prepare(vocabulary):
    """`vocabulary`: words of the text tower, a line each in FOLDER/text/vocab.txt."""
    for tower, model in save_towers(folder, vocabulary).items():
        onnx = os.path.join(folder, tower, "onnx")
        os.makedirs(onnx)
        export(tower, model, os.path.join(onnx, "model.onnx"))
        quantize(os.path.join(onnx, "model.onnx"), os.path.join(onnx, "model_quantized.onnx"))
    text = os.path.join(folder, "text")
    BertTokenizerFast.from_pretrained(text).save_pretrained(text)


serve({"prepare": prepare}, versions("torch", "transformers", "onnxruntime"))
