"""
========================================
Latents of digits, and what lies between
========================================

Clusters scikit-learn's 1,797 digits of 8x8 pixels with MCDC, whose auto-encoder is trained so that
a mixture of two digits looks like one of them, and draws its latents and what it decodes between
pairs of digits.
"""

# %%
# The data come with scikit-learn: images of shape (n, height, width).
import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score

from skdeepclust import MCDCClustering
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.plotting import EmbeddingDisplay, InterpolationDisplay

parser = argparse.ArgumentParser(description="Cluster scikit-learn's digits with MCDC.")
parser.add_argument("--output", default="interpolation.png", help="where the picture goes")
output = parser.parse_args().output

images, y = load_digits().images, load_digits().target

# %%
# An estimator like any other of scikit-learn; of two restarts it keeps the one with the higher
# `score`, which needs no labels. ``verbose=1`` shows a progress bar.
mcdc = MCDCClustering(n_clusters=10, n_init=2, random_state=0, verbose=1).fit(images)
kmeans = KMeans(n_clusters=10, n_init=10, random_state=0).fit(images.reshape(len(images), -1))

# %%
# The true digits serve to compare, after the fact, and to choose what is shown.
print(f"{'':16} ACC    NMI")
for estimator in (kmeans, mcdc):
    acc = clustering_accuracy_score(y, estimator.labels_)
    nmi = normalized_mutual_info_score(y, estimator.labels_)
    print(f"{type(estimator).__name__:16} {acc:.3f}  {nmi:.3f}")

# %%
# Left: the latents' first two principal components. Right: digits, and what the decoder makes of
# the points on the line between their latents.
figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 4.2), width_ratios=[1, 1.25], layout="constrained"
)
EmbeddingDisplay.from_estimator(mcdc, images, ax=left)
left.set_title("latents by cluster")
first = [np.flatnonzero(y == digit)[0] for digit in (0, 2, 4, 6, 8)]
last = [np.flatnonzero(y == digit)[0] for digit in (1, 3, 5, 7, 9)]
InterpolationDisplay.from_estimator(mcdc, images[first], images[last], n_steps=8, ax=right)
figure.savefig(output, dpi=110)
print(f"wrote {output}")
