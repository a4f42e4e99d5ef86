"""
===========================
Embeddings in, clusters out
===========================

Clusters vectors, such as a network makes of images, texts or sounds, by heads that learn from each
vector's neighbours; finds how many clusters there are, how they belong together, and which vectors
belong to none. Needs the extra ``skdeepclust[plot]``.
"""

# %%
# The vectors are scikit-learn's digits, 64 values each: they stand for the embeddings of a network,
# ``FeatureExtractor("timm:...").transform(folder)`` say. One in forty is replaced by noise.
import argparse

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score

from skdeepclust import ConsensusClustering, TEMIClustering, TURTLEClustering
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.plotting import MergeTreeDisplay

parser = argparse.ArgumentParser(description="Cluster embeddings.")
parser.add_argument("--output", default="embeddings.png", help="where the picture goes")
output = parser.parse_args().output

images, y = load_digits().images.copy(), load_digits().target
rng = np.random.default_rng(0)
is_noise = rng.random(len(images)) < 1 / 40
images[is_noise] = rng.permuted(images[is_noise].reshape(-1, 64), axis=1).reshape(-1, 8, 8)
X = images.reshape(len(images), -1)

# %%
# Two methods and what they agree on, beside k-means. The true digits serve to compare, after the
# fact.
heads = [
    ("TEMI", TEMIClustering(10, max_epochs=50, random_state=0)),
    ("TURTLE", TURTLEClustering(10, n_init=1, random_state=0)),
]
consensus = ConsensusClustering(heads, random_state=0).fit(X)
found = {
    "KMeans": KMeans(10, n_init=10, random_state=0).fit_predict(X),
    **{name: head.labels_ for name, head in consensus.named_estimators_.items()},
    "consensus": consensus.labels_,
}
print(f"{'':10} ACC    NMI")
for name, labels in found.items():
    acc = clustering_accuracy_score(y[~is_noise], labels[~is_noise])
    nmi = normalized_mutual_info_score(y[~is_noise], labels[~is_noise])
    print(f"{name:10} {acc:.3f}  {nmi:.3f}")

# %%
# Vectors that are far from all others get the label -1. That one in forty is to be rejected is for
# you to say.
temi = consensus.named_estimators_["TEMI"]
rejected = temi.predict(X, reject=1 / 40) == -1
print(f"{rejected[is_noise].mean():.0%} of the noise and {rejected[~is_noise].mean():.1%} of the")
print("digits are rejected")

# %%
# With twice as many clusters as there are digits, ways to write a digit may be told apart. Those
# that are confused most merge first; at the dotted line, where none are confused more than by
# chance, merging ends with ``n_clusters="auto"``.
many = TEMIClustering(20, max_epochs=50, random_state=0).fit(X[~is_noise])
auto = TEMIClustering("auto", max_epochs=50, random_state=0).fit(X[~is_noise])
print(f"{auto.n_clusters_} clusters are found")
probabilities = many.predict_proba(X[~is_noise])
display = MergeTreeDisplay.from_predictions(images[~is_noise], probabilities)
display.figure_.savefig(output, dpi=110)
print(f"wrote {output}")
