"""
==========================================
A folder of images, from the command line
==========================================

Writes scikit-learn's digits to a folder as image files, clusters the folder with one command, and
looks at what that leaves: a table, a page to look at, and a model for other images.
"""

# %%
# The folder: in practice yours, with any images in it, in sub-folders or not.
import argparse
import csv
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

import skdeepclust
from skdeepclust.__main__ import main

parser = argparse.ArgumentParser(description="Cluster a folder of digits.")
parser.add_argument("--output", default="cluster_folder", help="where everything goes")
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
# ``skdeepclust cluster_folder/digits --n-clusters 10 --size 8 --grey --out cluster_folder/result``.
options = ["--n-clusters", "10", "--size", "8", "--grey"]
places = [str(output / "digits"), "--out", str(output / "result")]
if status := main([*places, *options, "--set", f"max_epochs={arguments.epochs}"]):
    raise SystemExit(status)

# %%
# The names of the sub-folders are in the page, but had no part in the clustering.
with open(output / "result" / "labels.csv", newline="") as file:
    for row in list(csv.DictReader(file))[:3]:
        print(row["path"], "is in cluster", row["label"], "with probability", row["probability"])

# %%
# The model file holds data and no code, so that it may come from anybody.
model = skdeepclust.load(output / "result" / "model.skdc")
print("three more images are in clusters", model.predict(15 * images[:3]))
