"""
=======================
Data larger than memory
=======================

Clusters 60,000 images in a file of 246 MB with a memory limit of 16 MiB, and watches what the
process holds meanwhile; then the same with all images in memory. The first way is made for files
as large as the disk: of all that is read only a few numbers an image are kept. One size of file is
shown. Needs the extra ``skdeepclust[plot]``.
"""

# %%
# The file: scikit-learn's digits, enlarged to 32x32 pixels, and each of them turned, shifted and
# zoomed at random again and again. It is written block by block, for it might not fit.
import argparse
import mmap
import tempfile
import threading
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score
from torch.nn.functional import interpolate

from skdeepclust import STDACClustering
from skdeepclust.augment import RandomAffine
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.networks import SmallConvEncoder

parser = argparse.ArgumentParser(description="Cluster a file that is larger than the memory limit.")
parser.add_argument("--output", default="big_data.png", help="where the picture goes")
parser.add_argument("--n-images", type=int, default=60_000)
arguments = parser.parse_args()
n = arguments.n_images

temporary = tempfile.TemporaryDirectory()
path = Path(temporary.name) / "images.npy"
digits = torch.from_numpy(load_digits().images).float()[:, None]
digits = interpolate(digits, size=(32, 32), mode="bilinear")
y = np.resize(load_digits().target, n)
augment = RandomAffine()
torch.manual_seed(0)
file = np.lib.format.open_memmap(path, "w+", np.float32, (n, 32, 32))
for rows in np.array_split(np.arange(n), -(-n // 1000)):
    file[rows] = augment(digits[rows % len(digits)])[:, 0]
del file
size = path.stat().st_size / 1e6


# %%
# A thread looks at the process ten times a second. Linux says what a process holds; macOS the most
# that it has held so far; on Windows it takes a further package, and there is no curve here.
def held():
    """Return the memory that this process holds, in MB."""
    if (statm := Path("/proc/self/statm")).exists():
        return int(statm.read_text().split()[1]) * mmap.PAGESIZE / 1e6
    if find_spec("resource"):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return np.nan


class Watch(threading.Thread):
    """What the process holds from now on, less what it holds now, until it is stopped."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seconds, self.megabytes, self.stopped = [], [], threading.Event()
        self.start()

    def run(self):
        start, before = time.perf_counter(), held()
        while not self.stopped.wait(0.1):
            self.seconds.append(time.perf_counter() - start)
            self.megabytes.append(held() - before)


# %%
# A small network and one pass, for a minute or two on one core. A first fit to a thousand images
# loads what has to be loaded once. Where ``memory_limit`` is smaller than the file, parts of it are
# read ahead while others are trained on; predictions go to a file, too.
model = STDACClustering(
    n_clusters=10,
    network=partial(SmallConvEncoder, widths=(8, 16, 32, 64)),
    n_init=1,
    max_epochs=1,
    lr=1e-3,
    memory_limit=2**24,
    random_state=0,
)
model.fit(np.load(path, mmap_mode="r")[:1000])
kmeans = MiniBatchKMeans(n_clusters=10, n_init=3, random_state=0)
found = {"MiniBatchKMeans": kmeans.fit_predict(np.load(path, mmap_mode="r").reshape(n, -1))}
watches = {}
for name, mode in {"from the file": "r", "in memory": None}.items():
    watch = Watch()
    images = np.load(path, mmap_mode=mode)
    labels = np.lib.format.open_memmap(path.with_name(f"{mode}.npy"), "w+", np.int8, (n,))
    model.fit(images).predict(images, out=labels)
    watch.stopped.set()
    watch.join()
    found[name], watches[name] = labels, watch
    del images

# %%
# The true digits serve to compare, after the fact. The two fits see the images in another order,
# and differ by that alone, as two random states do.
print(f"{'':16} ACC    NMI    MB at most")
for name, labels in found.items():
    acc, nmi = clustering_accuracy_score(y, labels), normalized_mutual_info_score(y, labels)
    most = f"{max(watches[name].megabytes):.0f}" if name in watches else ""
    print(f"{name:16} {acc:.3f}  {nmi:.3f}  {most}")

# %%
# What the process holds beyond what it held before. The limit is of what is read; the rest is what
# training, predictions and the search for neighbours in the end, among 10,000 images at most, need
# at a time. Images in memory are held twice, as they are given and standardised, for these are
# floats.
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for name, watch in watches.items():
    ax.plot(watch.seconds, watch.megabytes, label=name)
ax.axhline(size, color="0.4", linestyle="--", linewidth=1, label="size of the file")
ax.axhline(2**24 / 1e6, color="0.4", linestyle=":", linewidth=1, label="memory_limit")
ax.set(xlabel="seconds", ylabel="MB held", ylim=(0, None))
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
figure.savefig(arguments.output, dpi=110)
print(f"wrote {arguments.output}")
del labels, found
temporary.cleanup()
