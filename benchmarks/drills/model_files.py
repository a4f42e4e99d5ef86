"""1,000 damaged and forged model files, none of which may do more than raise a ValueError.

    python -m benchmarks.drills.model_files [--n-files 1000] [--random-state 0]

Half of the files are damaged: cut off, with bytes flipped, left out, put in or exchanged with those
of another model, or with sizes that they don't have. Half are forged: a value in the JSON or a
tensor is another, and the checksum is right. An audit hook of Python's sees what loading them would
run, import, open to write or unpickle; the memory that a load may take beyond what it has is
limited. A forged file may also be a valid model, with another learning rate or other weights, which
then has to predict. Writes benchmarks/results/model_files.json and .md.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import skdeepclust
from benchmarks.records import RESULTS, described, environment, save, table
from skdeepclust import model_file

FINE = ("ValueError", "a valid model")
MOST_MEMORY = 2**29  # bytes more than before, where models have 3 MB
EVENTS = (  # of Python's audit hooks
    "exec", "compile", "import", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen",
    "pickle.find_class", "ctypes.dlopen", "socket.connect", "shutil.rmtree", "os.remove",
    "os.rename",
)  # fmt: skip
watched: list[str] | None = None  # what happens while a file is loaded


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if watched is None:
        return
    # an import that finds the module where it is runs nothing
    is_import = event == "import" and arguments[0] in sys.modules
    is_write = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if (event in EVENTS and not is_import) or is_write:
        watched.append(f"{event} {str(arguments)[:80]}")


@contextmanager
def watching() -> Iterator[list[str]]:
    """Note what the block runs, imports, writes and unpickles."""
    global watched
    watched = []
    try:
        yield watched
    finally:
        watched = None


@contextmanager
def limited_memory(most: int) -> Iterator[None]:
    """Let the block have no more than so many bytes beyond those that the process has."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


# ---------------------------------------------------------------------- damage


def cut(data: bytes, other: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def flip(data: bytes, other: bytes, draw: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(draw.choice([1, 1, 4, 64])):
        place = draw.randrange(draw.choice([8, 4000, len(data)]))
        made[place] ^= 1 << draw.randrange(8)
    return bytes(made)


def leave_out(data: bytes, other: bytes, draw: random.Random) -> bytes:
    start, n = draw.randrange(len(data)), draw.choice([1, 8, 1000])
    return data[:start] + data[start + n :]


def put_in(data: bytes, other: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data) + 1)
    return data[:start] + draw.randbytes(draw.choice([1, 8, 1000])) + data[start:]


def exchange(data: bytes, other: bytes, draw: random.Random) -> bytes:
    start = draw.choice([8, 8 + struct.unpack("<Q", data[:8])[0], draw.randrange(len(data))])
    return data[:start] + other[start:]


def claim(data: bytes, other: bytes, draw: random.Random) -> bytes:
    """A header that is said to be of another length, or tensors of another size."""
    if draw.random() < 0.5:
        claimed = draw.choice([0, 7, 2**20, 2**31, 2**40, 2**63, 2**64 - 1])
        return struct.pack("<Q", claimed) + data[8:]
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + n])
    entry = header[draw.choice([name for name in header if name != "__metadata__"])]
    if draw.random() < 0.5:
        entry["shape"] = [draw.choice([0, 2**20, 2**40, 2**63])] * draw.choice([1, 2, 4])
    else:
        entry["data_offsets"] = [0, draw.choice([0, 2**31, 2**50, 2**63])]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + n :]


DAMAGE = (cut, flip, leave_out, put_in, exchange, claim)

# ---------------------------------------------------------------------- forgery

Model = tuple[dict[str, Any], dict[str, torch.Tensor]]  # a document and its tensors


def opened(data: bytes) -> Model:
    n = struct.unpack("<Q", data[:8])[0]
    metadata = json.loads(data[8 : 8 + n])["__metadata__"]
    return json.loads(metadata["document"]), safetensors.torch.load(data)


def closed(document: Any, tensors: dict[str, torch.Tensor]) -> bytes:
    """Return the file of a document and its tensors, with the right checksum."""
    text = document if isinstance(document, str) else json.dumps(document)
    checksum = model_file._digest(text, tensors)
    metadata = {"format": model_file.FORMAT, "document": text, "sha256": checksum}
    return safetensors.torch.save(tensors, metadata)


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield all containers and keys in JSON."""
    for key in node if isinstance(node, dict) else range(len(node)):
        yield node, key
        if isinstance(node[key], dict | list):
            yield from places(node[key])


def nested(depth: int) -> Any:
    node: Any = []
    for _ in range(depth):
        node = [node]
    return node


WRONG = (
    None, True, -1, 0, 3, 10**12, 10**400, 0.5, 1e308, float("nan"), "", "text", "os.system",
    "../../etc/passwd", [], {}, [1, "a"], {"a": 1}, {"tuple": []}, {"tuple": 3},
    {"class": "os.system"}, {"class": "torch.optim.Adam"}, {"class": "builtins.eval"},
    {"given": ["network", "os.system"]}, {"again": 10**9}, {"again": 0},
    {"partial": [{"class": "builtins.exec"}, ["raise SystemExit"], {"dict": []}]},
    {"estimator": ["sklearn.PCA", {"parameters": {}, "state": {}}]},
    {"module": ["torch.nn.Linear", {}]}, {"array": ["no such place"]}, {"path": "/dev/zero"},
    {"device": "cuda:99"}, {"number": ["float64", "nan"]}, {"number": ["V1000000000", 0]},
    {"size": [10**12, 10**12]}, {"strings": ["<U999999999", ["a"]]}, nested(300),
)  # fmt: skip


def replace(model: Model, other: Model, draw: random.Random) -> Any:
    node, key = draw.choice(list(places(model[0]["model"])))
    node[key] = draw.choice(WRONG)
    return closed(*model)


def leave_out_value(model: Model, other: Model, draw: random.Random) -> Any:
    node, key = draw.choice(list(places(model[0]["model"])))
    del node[key]
    return closed(*model)


def add_value(model: Model, other: Model, draw: random.Random) -> Any:
    nodes = [node for node, _ in places(model[0]["model"])]
    node = draw.choice(nodes)
    name = draw.choice(["forward", "fit", "__class__", "__reduce__", "_forward_hooks", "x", "x_"])
    if isinstance(node, dict):
        node[name] = draw.choice(WRONG)
    else:
        node.append(draw.choice(WRONG))
    return closed(*model)


def exchange_values(model: Model, other: Model, draw: random.Random) -> Any:
    """Values of one model in the place of another's, or of its own."""
    node, key = draw.choice(list(places(model[0]["model"])))
    source, at = draw.choice(list(places(draw.choice([model, other])[0]["model"])))
    node[key] = json.loads(json.dumps(source[at]))
    return closed(*model)


def other_strides(model: Model, other: Model, draw: random.Random) -> Any:
    found = [
        node[key]
        for node, key in places(model[0]["model"])
        if key in ("parameter", "tensor", "array") and isinstance(node[key], list)
    ]
    draw.choice(found).append([draw.choice([-1, 0, 1, 2**20, 2**40, 2**62])] * draw.choice([1, 4]))
    return closed(*model)


def other_tensors(model: Model, other: Model, draw: random.Random) -> Any:
    document, tensors = model
    names = sorted(tensors)
    name, second = draw.choice(names), draw.choice(names)
    change = draw.choice(["drop", "flat", "double", "int", "swap", "other", "none", "nan"])
    if change == "drop":
        del tensors[name]
    elif change == "flat":
        tensors[name] = tensors[name].reshape(-1, 1)
    elif change == "double":
        tensors[name] = tensors[name].double()
    elif change == "int":
        tensors[name] = tensors[name].to(torch.int8)
    elif change == "swap":
        tensors[name], tensors[second] = tensors[second], tensors[name]
    elif change == "other":
        tensors = other[1]
    elif change == "none":
        tensors = {}
    else:
        tensors[name] = torch.full_like(tensors[name].float(), torch.nan)
    return closed(document, tensors)


def other_text(model: Model, other: Model, draw: random.Random) -> Any:
    """JSON that is none, is very deep, or is something else."""
    text = json.dumps(model[0])
    start = draw.randrange(len(text))
    texts = [
        text[:start], text[:start] + text[start + 1 :], "[" * 100_000, "[]", "3", '{"model": 3}',
        '{"model": ' + '{"tuple": [' * 5000 + "]}" * 5000 + "}", "null", '{"model": {}}',
        '{"model": {"dict": []}}', "9" * 100_000,
    ]  # fmt: skip
    return closed(draw.choice(texts), model[1])


FORGERY = (
    replace, replace, replace, leave_out_value, add_value, exchange_values, other_strides,
    other_tensors, other_text,
)  # fmt: skip


# ---------------------------------------------------------------------- the drill


def models(images: np.ndarray) -> list[Any]:
    """Return fitted models with as much as possible in them."""
    short = {"max_epochs": 1, "random_state": 0}
    small = {**short, "n_clusters": 3, "n_init": 1}
    autoencoder = skdeepclust.AutoencoderClustering(**small, kmeans_n_init=3)
    return [
        skdeepclust.DeepClustering(**small),
        skdeepclust.STDACClustering(**small),
        skdeepclust.IDECClustering(3, autoencoder=autoencoder, **short, n_init=1, kmeans_n_init=3),
        skdeepclust.SCANClustering(
            3, representation=skdeepclust.SimCLR(**short), **short, n_init=1, self_label_epochs=0
        ),
        skdeepclust.N2DClustering(**small, manifold=PCA(2)),
        skdeepclust.CatGANClustering(**small),
    ]


def files(fitted: list[Any], n_files: int, seed: int, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield damaged and forged files, and what was done to each."""
    draw = random.Random(seed)
    good = []
    for number, model in enumerate(fitted):
        path = folder / f"{number}.skdc"
        skdeepclust.save(model, path)
        good.append(path.read_bytes())
    for number in range(n_files):
        data, other = draw.sample(good, 2)
        if number % 2 == 0:
            do: Callable[..., bytes] = DAMAGE[number // 2 % len(DAMAGE)]
            made = do(data, other, draw)
            if made not in good:  # a byte flipped twice
                yield f"damage: {do.__name__}", made
        else:
            do = FORGERY[number // 2 % len(FORGERY)]
            yield f"forgery: {do.__name__}", do(opened(data), opened(other), draw)


def outcome(path: Path, images: np.ndarray) -> tuple[str, str]:
    """Return what loading a file leads to, in a word, and the message."""
    try:
        with watching() as seen:
            model = skdeepclust.load(path)
    except ValueError as error:
        if seen:
            return "RAN SOMETHING", "; ".join(seen)
        if isinstance(error.__cause__, MemoryError) or "allocate" in str(error):
            return "ALLOCATED TOO MUCH", str(error)
        return FINE[0], str(error)
    except BaseException as error:
        return f"ANOTHER ERROR: {type(error).__name__}", str(error)
    if seen:
        return "RAN SOMETHING", "; ".join(seen)
    try:
        model.predict(images[:4])
    except Exception as error:
        return "LOADED, BUT DOESN'T PREDICT", repr(error)
    return FINE[1], ""


def drill(
    fitted: list[Any], images: np.ndarray, n_files: int, seed: int, folder: Path
) -> list[tuple[str, str, str]]:
    """Return kind, outcome and message of each file."""
    path = folder / "forged.skdc"
    found = []
    for kind, data in files(fitted, n_files, seed, folder):
        path.write_bytes(data)
        found.append((kind, *outcome(path, images)))
    return found


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-files", type=int, default=1000)
    parser.add_argument("--random-state", type=int, default=0)
    arguments = parser.parse_args(argv)
    sys.addaudithook(_hook)
    images = load_digits().images[:200]
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as name:
        warnings.simplefilter("ignore")
        fitted = [model.fit(images) for model in models(images)]
        folder = Path(name)
        drill(fitted, images, 20, 1, folder)  # imports what is imported late
        start = time.perf_counter()
        with limited_memory(MOST_MEMORY):
            found = drill(fitted, images, arguments.n_files, arguments.random_state, folder)
        seconds = time.perf_counter() - start
    for kind, result, message in found:
        if result not in FINE:
            print(f"{kind}: {result}: {message[:300]}")
    counts = Counter((kind, result) for kind, result, _ in found)
    report(
        {
            "files": [[*key, n] for key, n in sorted(counts.items())],
            "n_models": len(fitted),
            "n_files": arguments.n_files,
            "random_state": arguments.random_state,
            "seconds": seconds,
            "environment": environment(),
        }
    )


def report(result: dict[str, Any]) -> None:
    """Write down how many files of each kind had each outcome."""
    save(RESULTS / "model_files.json", result)
    counts = {(kind, outcome): n for kind, outcome, n in result["files"]}
    outcomes = sorted({key[1] for key in counts}, key=lambda name: (name not in FINE, name))
    rows = [
        [kind, *(counts.get((kind, outcome), 0) for outcome in outcomes)]
        for kind in sorted({key[0] for key in counts})
    ]
    rows.append(["all", *(sum(row[i + 1] for row in rows) for i in range(len(outcomes)))])
    text = table(["what was done", *outcomes], rows) + (
        f"\n\nOf {result['n_models']} models, loaded in {result['seconds']:.0f} s. What a load "
        f"runs, imports, opens to write or unpickles, and more than {MOST_MEMORY >> 20} MiB of "
        "memory, would be an outcome of its own, as any error but ValueError would. Forged files "
        "have the right checksum; some are valid models with another value, and predict. "
        f"`python -m benchmarks.drills.model_files --n-files {result['n_files']} --random-state "
        f"{result['random_state']}`. {described(result)}\n"
    )
    (RESULTS / "model_files.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
