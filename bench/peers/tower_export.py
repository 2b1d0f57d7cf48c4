"""ViT-B/16 at 384 and BERT-base with random weights by transformers, as save_pretrained writes them, and their export to ONNX."""
import json
import os

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import BertConfig, BertModel, ViTConfig, ViTModel

inputs_of = {"image": ["pixel_values"], "text": ["input_ids", "attention_mask"]}


class States(torch.nn.Module):
    """The last hidden states alone, by positional arguments: what is exported."""

    def __init__(self, tower, names):
        super().__init__()
        self.tower, self.names = tower, names

    def forward(self, *inputs):
        return self.tower(**dict(zip(self.names, inputs))).last_hidden_state


def save_towers(folder, vocabulary):
    """Writes FOLDER/image and FOLDER/text (which has its vocabulary already); the models by tower."""
    torch.manual_seed(1)
    towers = {
        "image": ViTModel(ViTConfig(image_size=384), add_pooling_layer=False).eval(),
        "text": BertModel(BertConfig(vocab_size=vocabulary), add_pooling_layer=False).eval(),
    }
    for tower, model in towers.items():
        model.save_pretrained(os.path.join(folder, tower))
    write_image_rules(os.path.join(folder, "image"))
    return towers


def export(tower, model, file):
    """The last hidden states, whatever the batch and the number of tokens."""
    examples = {
        "image": (torch.zeros(2, 3, 384, 384),),
        "text": (torch.zeros(2, 9, dtype=torch.long), torch.ones(2, 9, dtype=torch.long)),
    }
    names, output = inputs_of[tower], "last_hidden_state"
    axes = {0: "batch"} if tower == "image" else {0: "batch", 1: "tokens"}
    torch.onnx.export(States(model, names).eval(), examples[tower], file, input_names=names, output_names=[output],
                      dynamic_axes={name: axes for name in [*names, output]}, dynamo=False)


def quantize(file, to):
    """ONNX Runtime's dynamic quantization of the products with weights."""
    quantize_dynamic(file, to, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8)


def write_image_rules(folder):
    """What ViTImageProcessor.save_pretrained() writes; the class itself wants torchvision."""
    rules = {"image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 384, "width": 384},
             "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
             "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    with open(os.path.join(folder, "preprocessor_config.json"), "w") as file:
        json.dump(rules, file)
