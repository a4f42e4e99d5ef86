"""
================================
Clustering digits without labels
================================

Clusters scikit-learn's 1,797 digits of 8x8 pixels with ST-DAC and with k-means, compares both
with the true digits, which neither has seen, and draws the images that ST-DAC is most and least
sure of.
"""

# %%
# The data come with scikit-learn: images of shape (n, height, width).
import argparse

from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from skdeepclust import STDACClustering
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.plotting import ClusterMontageDisplay

parser = argparse.ArgumentParser(description="Cluster scikit-learn's digits.")
parser.add_argument("--output", default="digits.png", help="where the picture goes")
output = parser.parse_args().output

images, y = load_digits().images, load_digits().target

# %%
# An estimator like any other of scikit-learn; ``verbose=1`` shows a progress bar.
st_dac = STDACClustering(n_clusters=10, random_state=0, verbose=1).fit(images)
kmeans = KMeans(n_clusters=10, n_init=10, random_state=0).fit(images.reshape(len(images), -1))

# %%
# The true digits serve to compare, after the fact.
print(f"{'':16} ACC    NMI    ARI")
for estimator in (kmeans, st_dac):
    labels = estimator.labels_
    print(
        f"{type(estimator).__name__:16} {clustering_accuracy_score(y, labels):.3f}"
        f"  {normalized_mutual_info_score(y, labels):.3f}  {adjusted_rand_score(y, labels):.3f}"
    )

# %%
# What did it find? One row a cluster.
display = ClusterMontageDisplay.from_estimator(st_dac, images)
display.figure_.savefig(output, dpi=150, bbox_inches="tight")
print(f"wrote {output}")
