"""
============================
A folder of images, a report
============================

Writes scikit-learn's digits to a folder as image files, clusters the folder with one command, and
looks at what that leaves: a table, a page to look at, and a model for other images. Needs the
extras ``skdeepclust[plot,images,model]``.
"""

# %%
# The folder: in practice yours, with any images in it, in sub-folders or not.
import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score

import skdeepclust
from skdeepclust.__main__ import main
from skdeepclust.datasets import ImageFolder
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.plotting import ClusterMontageDisplay

parser = argparse.ArgumentParser(description="Cluster a folder of digits.")
parser.add_argument("--output", default="folder", help="where everything goes")
parser.add_argument("--epochs", default="auto", help="of training")
arguments = parser.parse_args()
output = Path(arguments.output)

images, digits = load_digits().images, load_digits().target
for number, (image, digit) in enumerate(zip(images, digits, strict=True)):
    path = output / "digits" / str(digit) / f"{number:04}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((15 * image).astype("uint8")).save(path)

# %%
# In a shell this is
# ``skdeepclust folder/digits --n-clusters 10 --size 8 --grey --out folder/result``.
options = ["--n-clusters", "10", "--size", "8", "--grey"]
places = [str(output / "digits"), "--out", str(output / "result")]
if status := main([*places, *options, "--set", f"max_epochs={arguments.epochs}"]):
    raise SystemExit(status)

# %%
# The table has a row for each file. The page, ``report/index.html``, is one file that needs no
# other: a map, the images of each cluster, those that it is least sure of, and here, where
# there are sub-folders, which of them are in which cluster.
with open(output / "result" / "labels.csv", newline="") as file:
    rows = list(csv.DictReader(file))
for row in rows[:3]:
    path = Path(row["path"]).relative_to(output).as_posix()
    print(path, "is in cluster", row["label"], "with probability", row["probability"])

# %%
# The names of the sub-folders had no part in the clustering: they serve to compare, after the fact.
folder = ImageFolder(output / "digits", size=(8, 8), mode="L")
pixels = np.stack(list(folder)).reshape(len(folder), -1)
found = {
    "KMeans": KMeans(n_clusters=10, n_init=10, random_state=0).fit_predict(pixels / 255),
    "the command": [int(row["label"]) for row in rows],
}
print(f"{'':12} ACC    NMI")
for name, labels in found.items():
    acc = clustering_accuracy_score(folder.labels, labels)
    nmi = normalized_mutual_info_score(folder.labels, labels)
    print(f"{name:12} {acc:.3f}  {nmi:.3f}")

# %%
# The model file holds data and no code, so that it may come from anybody.
model = skdeepclust.load(output / "result" / "model.skdc")
print("three more images are in clusters", model.predict(15 * images[:3]))

# %%
# One row a cluster, each named by the sub-folder that most of its images are in: the images that
# the model is most sure of, then those that it is least sure of.
names = [
    folder.label_names[np.bincount(folder.labels[model.predict(folder) == k]).argmax()]
    for k in range(10)
]
ClusterMontageDisplay.from_estimator(model, folder, cluster_names=names).figure_.savefig(
    output / "montage.png", dpi=110
)
