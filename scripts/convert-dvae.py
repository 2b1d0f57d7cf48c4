#!/usr/bin/env python3
"""OpenAI's discrete VAE, a pickled module, to the folder that `token.tokenizer` names.

    python3 scripts/convert-dvae.py encoder.pkl --out models/dvae [--decoder decoder.pkl]

Unpickling runs what a file says. Here nothing that a file names is ever looked up: the few names that this network needs
(dall_e.*, torch.nn.modules.*, torch's storages and tensors, OrderedDict, set) stand for records that do nothing, every other
name ends the conversion, and so does any attempt to touch a file, a process or the network meanwhile. It needs Python 3.8 and
nothing else, not even torch. OUT holds dvae.safetensors and config.json.

Both layouts of torch.save are read: the zip archive of torch 1.6 and later, and the stream of pickles before it. Legend: g
group, b block, w [out, in, k, k].
"""
import argparse
import collections
import hashlib
import io
import json
import os
import pickle
import re
import struct
import sys
import tempfile
import zipfile

DTYPES = {"FloatStorage": ("F32", 4), "HalfStorage": ("F16", 2), "BFloat16Storage": ("BF16", 2), "DoubleStorage": ("F64", 8)}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
MAX_STORAGE = 2 ** 32
GROUPS = 4


class Refused(Exception):
    """Why a file is not converted, as the end of a sentence."""


# ------------------------------------------------------------------------------------------------- unpickling nothing

class Inert:
    """Stands for an object of any class: keeps what it is given, does nothing with it."""

    def __init__(self, *arguments, **options):
        self.arguments = arguments

    def __setstate__(self, state):
        self.state = state


class Storage:
    """Where the numbers of a tensor are: `key` in the file."""

    def __init__(self, kind, key, numel):
        self.kind, self.key, self.numel = kind, key, numel


class Tensor:
    def __init__(self, storage, offset, shape, stride):
        self.storage, self.offset, self.shape, self.stride = storage, offset, tuple(shape), tuple(stride)


def rebuild_tensor(storage, offset, shape, stride, *_):
    return Tensor(storage, offset, shape, stride)


def rebuild_parameter(tensor, *_):
    return tensor


ALLOWED = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "set"): set,  # nn.Module keeps one, empty
    ("__builtin__", "set"): set,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    ("torch", "Size"): tuple,
    ("torch", "device"): Inert,
    ("torch", "float32"): Inert,
    ("torch", "float16"): Inert,
}


def allowed(module, name):
    """What a name in a file stands for; None: the file is refused."""
    if (module, name) in ALLOWED:
        return ALLOWED[module, name]
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        return None
    if module in ("torch", "torch.storage") and name in DTYPES:
        return name
    is_class = module == "dall_e" or module.startswith("dall_e.") or module.startswith("torch.nn.modules.")
    return Inert if is_class else None


class Sandbox:
    """While it is open, any audited event of Python other than a looked-up name ends the work."""

    is_open = False

    @classmethod
    def hook(cls, event, _arguments):
        if cls.is_open and event != "pickle.find_class":
            raise Refused(f"the file tries to do something while it is read ({event})")

    def __enter__(self):
        Sandbox.is_open = True

    def __exit__(self, *_):
        Sandbox.is_open = False


sys.addaudithook(Sandbox.hook)


class Reader(pickle.Unpickler):
    def find_class(self, module, name):
        found = allowed(module, name)
        if found is None:
            raise Refused(f"it names {module}.{name}, which is no part of OpenAI's discrete VAE")
        return found

    def persistent_load(self, saved):
        # torch's stream also notes the source of each class.
        if isinstance(saved, tuple) and len(saved) >= 2 and saved[0] == "module":
            return saved[1]
        if not isinstance(saved, tuple) or len(saved) < 5 or saved[0] != "storage" or saved[1] not in DTYPES:
            raise Refused("it refers to something that is no storage of floating-point numbers")
        _, kind, key, _, numel = saved[:5]
        return Storage(kind, str(key), int(numel))


def unpickle(stream):
    with Sandbox():
        return Reader(stream).load()


# ------------------------------------------------------------------------------------------------- the two layouts

def read_zip(file):
    """The root object, and how to get the bytes of a storage by its key."""
    archive = zipfile.ZipFile(file)
    roots = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise Refused(f"as an archive of torch.save it should hold one data.pkl, it holds {len(roots)}")
    folder = roots[0][: -len("data.pkl")]
    root = unpickle(io.BytesIO(archive.read(roots[0])))
    return root, lambda key: archive.read(f"{folder}data/{key}")


def read_stream(file):
    """Magic, protocol, system, the object, the keys of the storages, then each storage: its length and its bytes."""
    with open(file, "rb") as stream:
        if unpickle(stream) != LEGACY_MAGIC:
            raise Refused("it is no file of torch.save")
        unpickle(stream)
        unpickle(stream)
        root = unpickle(stream)
        kinds = {tensor.storage.key: tensor.storage.kind for tensor in tensors_of(root).values()}
        found = {}
        for key in unpickle(stream):
            size = DTYPES[kinds[str(key)]][1]
            (numel,) = struct.unpack("<q", stream.read(8))
            if not 0 <= numel * size <= MAX_STORAGE:
                raise Refused(f"a storage of it claims {numel} numbers")
            found[str(key)] = stream.read(numel * size)
    return root, lambda key: found[key]


def tensors_of(root):
    """The state dict: parameters and buffers by name, as nn.Module.state_dict names them."""
    found = {}

    def walk(module, prefix):
        state = module if isinstance(module, dict) else getattr(module, "state", None)
        if not isinstance(state, dict):
            return
        for part in ("_parameters", "_buffers"):
            for name, value in (state.get(part) or {}).items():
                if isinstance(value, Tensor):
                    found[prefix + name] = value
        for name, child in (state.get("_modules") or {}).items():
            walk(child, f"{prefix}{name}.")

    if isinstance(root, dict) and all(isinstance(value, Tensor) for value in root.values()):
        return dict(root)
    walk(root, "")
    return found


def values_of(tensor, read):
    """Contiguous bytes of a tensor."""
    size = DTYPES[tensor.storage.kind][1]
    data = read(tensor.storage.key)
    count, contiguous = 1, []
    for side in reversed(tensor.shape):
        contiguous.insert(0, count)
        count *= side
    if tensor.stride == tuple(contiguous):
        values = data[tensor.offset * size: (tensor.offset + count) * size]
    else:
        values = b"".join(strided(data, tensor.offset, tensor.shape, tensor.stride, size))
    if len(values) != count * size:
        raise Refused(f"a tensor of shape {list(tensor.shape)} has {len(values)} bytes, it wants {count * size}: the file is cut short")
    return values


def strided(data, offset, shape, stride, size):
    if not shape:
        yield data[offset * size: (offset + 1) * size]
        return
    for index in range(shape[0]):
        yield from strided(data, offset + index * stride[0], shape[1:], stride[1:], size)


# ------------------------------------------------------------------------------------------------- OpenAI's network

def expected_shapes(widths, first, last, kernels, blocks):
    """Names and shapes of an encoder or decoder (SPEC 4.4)."""
    shapes = {}

    def conv(name, n_in, n_out, k):
        shapes[f"{name}.w"], shapes[f"{name}.b"] = (n_out, n_in, k, k), (n_out,)

    conv("blocks.input", *first)
    for g in range(GROUPS):
        for b in range(blocks):
            n_in, n_out = (widths[g] if b == 0 else widths[g + 1]), widths[g + 1]
            name, inner = f"blocks.group_{g + 1}.block_{b + 1}", n_out // 4
            if n_in != n_out:
                conv(f"{name}.id_path", n_in, n_out, 1)
            sizes = [n_in, inner, inner, inner, n_out]
            for i, k in enumerate(kernels):
                conv(f"{name}.res_path.conv_{i + 1}", sizes[i], sizes[i + 1], k)
    conv("blocks.output.conv", *last)
    return shapes


BROKEN = (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError,
          struct.error, RecursionError, MemoryError)


def read_network(file, shapes_of):
    """Tensors by name with their bytes; their names and shapes are those of OpenAI's network."""
    try:
        root, read = (read_zip if zipfile.is_zipfile(file) else read_stream)(file)
        tensors = tensors_of(root)
        shapes, config = shapes_of(tensors)
        for name in sorted(set(shapes) | set(tensors)):
            found = tensors[name].shape if name in tensors else None
            if found != shapes.get(name):
                raise Refused(f"its tensor {name} should have the shape {shapes.get(name)}, it has {found}")
        return {name: (tensors[name], values_of(tensors[name], read)) for name in shapes}, config
    except BROKEN as error:
        raise Refused(f"it cannot be read as a file of torch.save ({type(error).__name__}: {error})") from error


def ends_of(tensors):
    """Shapes of the first and the last convolution, and the blocks of a group."""
    ends = [tensors[name].shape if name in tensors else () for name in ("blocks.input.w", "blocks.output.conv.w")]
    if any(len(shape) != 4 for shape in ends):
        raise Refused(f"it holds {len(tensors)} tensors, the convolutions blocks.input.w and blocks.output.conv.w not among them")
    return (*ends, len({name.split(".")[2] for name in tensors if name.startswith("blocks.group_1.block_")}))


def encoder_shapes(tensors):
    first, last, blocks = ends_of(tensors)
    hidden, vocab = first[0], last[0]
    widths = [hidden, hidden, 2 * hidden, 4 * hidden, 8 * hidden]
    shapes = expected_shapes(widths, (3, hidden, 7), (8 * hidden, vocab, 1), (3, 3, 3, 1), blocks)
    return shapes, {"vocab_size": vocab, "hidden_size": hidden, "codebook_dim": 128, "blocks": blocks}


def decoder_shapes(tensors):
    first, last, blocks = ends_of(tensors)
    vocab, initial, hidden = first[1], first[0], last[1]
    widths = [initial, 8 * hidden, 4 * hidden, 2 * hidden, hidden]
    shapes = expected_shapes(widths, (vocab, initial, 1), (hidden, 6, 1), (1, 3, 3, 3), blocks)
    return shapes, {"vocab_size": vocab, "hidden_size": hidden, "codebook_dim": initial, "blocks": blocks}


# ------------------------------------------------------------------------------------------------- the folder

def safetensors(tensors):
    header, position = {"__metadata__": {"format": "pt"}}, 0
    for name, (tensor, values) in tensors.items():
        header[name] = {"dtype": DTYPES[tensor.storage.kind][0], "shape": list(tensor.shape),
                        "data_offsets": [position, position + len(values)]}
        position += len(values)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *(values for _, values in tensors.values())])


def sha256(file):
    with open(file, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def convert(encoder, decoder):
    """Contents of the two files."""
    tensors, config = read_network(encoder, encoder_shapes)
    source = {"encoder_sha256": sha256(encoder)}
    if decoder is not None:
        more, other = read_network(decoder, decoder_shapes)
        for key in ("vocab_size", "hidden_size", "blocks"):
            if other[key] != config[key]:
                raise Refused(f"the decoder's {key} is {other[key]}, the encoder's {config[key]}: they are of two models")
        config["codebook_dim"] = other["codebook_dim"]
        tensors.update({f"decoder.{name}": value for name, value in more.items()})
        source["decoder_sha256"] = sha256(decoder)
    description = {"model_type": "cots_dvae", "format_version": 1, "arch": "openai", **config, "pixels": "map_pixels",
                   "training": source}
    return {"dvae.safetensors": safetensors(tensors), "config.json": (json.dumps(description, indent=2) + "\n").encode()}


def write_folder(out, contents):
    """Whole or not at all: beside, synced, renamed."""
    parent = os.path.dirname(os.path.abspath(out))
    os.makedirs(parent, exist_ok=True)
    if os.path.lexists(out) and not (os.path.isdir(out) and not os.listdir(out)):
        raise FileExistsError(f"Expected --out to be a new or empty folder, got {out}, which is something else. Name another.")
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=parent) as beside:
        folder = os.path.join(beside, "dvae")
        os.mkdir(folder)
        for name, content in contents.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        os.replace(folder, out)


def main():
    parser = argparse.ArgumentParser(description="OpenAI's discrete VAE to the folder that token.tokenizer names.")
    parser.add_argument("encoder", help="encoder.pkl")
    parser.add_argument("--decoder", help="decoder.pkl, to look at reconstructions")
    parser.add_argument("--out", required=True, help="folder to write")
    options = parser.parse_args()
    try:
        write_folder(options.out, convert(options.encoder, options.decoder))
    except Refused as refusal:
        sys.exit(f"convert-dvae: Expected the pickled network of OpenAI's discrete VAE, got {options.encoder}: {refusal}.")
    except OSError as error:
        sys.exit(f"convert-dvae: {error}")
    print(f"{options.out}: dvae.safetensors and config.json; train with token.tokenizer={options.out}")


if __name__ == "__main__":
    main()
