"""
================================
Clustering digits without labels
================================

Clusters scikit-learn's 1,797 digits of 8x8 pixels, compares the result and its time with those of
k-means and, where umap-learn and ClustPy are installed, of UMAP with k-means and of deep embedded
clustering, and draws the images that the model is most and least sure of.
"""

# %%
# The data come with scikit-learn: images of shape (n, height, width).
import argparse
import time
from importlib.util import find_spec

from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score
from sklearn.pipeline import make_pipeline

from skdeepclust import DeepClustering
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.plotting import ClusterMontageDisplay

parser = argparse.ArgumentParser(description="Cluster scikit-learn's digits.")
parser.add_argument("--output", default="digits.png", help="where the picture goes")
output = parser.parse_args().output

images, y = load_digits().images, load_digits().target
flat = images.reshape(len(images), -1)

# %%
# An estimator like any other of scikit-learn; ``verbose=1`` shows a progress bar.
model = DeepClustering(n_clusters=10, random_state=0, verbose=1)
kmeans = KMeans(n_clusters=10, n_init=10, random_state=0)
compared = {"KMeans": (kmeans, flat)}
if find_spec("umap"):
    from umap import UMAP

    umap = UMAP(n_components=10, n_neighbors=20, min_dist=0.0)
    compared["UMAP + KMeans"] = (make_pipeline(umap, kmeans), flat)
if find_spec("clustpy"):
    from clustpy.deep import DEC

    compared["ClustPy's DEC"] = (DEC(n_clusters=10, random_state=0), (flat / 16).astype("float32"))
compared["DeepClustering"] = (model, images)

# %%
# The true digits serve to compare, after the fact.
print(f"{'':16} ACC    NMI    seconds")
for name, (estimator, X) in compared.items():
    start = time.perf_counter()
    labels = estimator.fit_predict(X)
    seconds = time.perf_counter() - start
    acc, nmi = clustering_accuracy_score(y, labels), normalized_mutual_info_score(y, labels)
    print(f"{name:16} {acc:.3f}  {nmi:.3f}  {seconds:.1f}")

# %%
# What did it find? One row a cluster.
display = ClusterMontageDisplay.from_estimator(model, images)
display.figure_.savefig(output, dpi=150, bbox_inches="tight")
print(f"wrote {output}")
