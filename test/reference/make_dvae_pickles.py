"""Makes fixtures/dvae-pickles/: a small encoder and decoder pickled whole by torch, under OpenAI's module names, in both of torch's layouts.

    venv/bin/python test/reference/make_dvae_pickles.py

The weights are those of fixtures/dvae-openai.safetensors, so that the conversion can be compared with them.
"""
import sys
import types
from pathlib import Path

import torch
from safetensors.torch import load_file

import dvae_reference
from dvae_reference import OpenAIDecoder, OpenAIEncoder

FIXTURES = Path(__file__).parent / "fixtures"


def as_openai_names():
    """The classes as dall_e.encoder, dall_e.decoder and dall_e.utils have them: what a pickle names."""
    for module, classes in {"dall_e.encoder": {"Encoder": OpenAIEncoder, "EncoderBlock": dvae_reference.OpenAIBlock},
                            "dall_e.decoder": {"Decoder": OpenAIDecoder}, "dall_e.utils": {"Conv2d": dvae_reference.Conv}}.items():
        sys.modules[module] = types.ModuleType(module)
        sys.modules.setdefault("dall_e", types.ModuleType("dall_e"))
        for name, cls in classes.items():
            cls.__module__, cls.__qualname__, cls.__name__ = module, name, name
            setattr(sys.modules[module], name, cls)


def without_paths():
    """The older layout stores each class's source and where it lies: the source stays, the folders of this machine do not."""
    find = torch.serialization.get_source_lines_and_file
    torch.serialization.get_source_lines_and_file = lambda *given: (*find(*given)[:2], "source.py")


def main():
    without_paths()
    out = FIXTURES / "dvae-pickles"
    out.mkdir(exist_ok=True)
    weights = load_file(FIXTURES / "dvae-openai.safetensors")
    encoder, decoder = OpenAIEncoder(hidden=8, vocab=32), OpenAIDecoder(initial=8, hidden=8, vocab=32)
    encoder.load_state_dict({k: v for k, v in weights.items() if not k.startswith("decoder.")})
    decoder.load_state_dict({k.removeprefix("decoder."): v for k, v in weights.items() if k.startswith("decoder.")})
    as_openai_names()
    torch.save(encoder, out / "encoder.pkl")
    torch.save(encoder, out / "encoder-stream.pkl", _use_new_zipfile_serialization=False)
    torch.save(decoder, out / "decoder.pkl")


if __name__ == "__main__":
    main()
