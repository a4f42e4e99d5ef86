"""
=====================
Search without labels
=====================

Chooses a learning rate, one of several restarts and a number of clusters for scikit-learn's digits
as one has to where there are no labels: by what the data themselves say. Then the labels tell how
good these choices were. Needs the extra ``skdeepclust[plot]``.
"""

# %%
# The data come with scikit-learn: images of shape (n, height, width).
import argparse
import warnings

import matplotlib.pyplot as plt
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import normalized_mutual_info_score
from sklearn.model_selection import GridSearchCV

from skdeepclust import DeepClustering, select_n_clusters
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.plotting import NClustersDisplay

parser = argparse.ArgumentParser(description="Search without labels.")
parser.add_argument("--output", default="search.png", help="where the picture goes")
output = parser.parse_args().output

images, y = load_digits().images, load_digits().target

# %%
# A parameter. The estimator's `score` is how much the cluster of an image tells of those of its
# nearest neighbours, here among images that it was not fitted to. The search is given no labels. A
# rate that is too low or too high leaves clusters empty, of which a warning tells.
warnings.simplefilter("ignore", ConvergenceWarning)
model = DeepClustering(n_clusters=10, n_init=1, max_epochs=8, random_state=0)
search = GridSearchCV(model, {"lr": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]}, cv=2, refit=False)
scores = search.fit(images).cv_results_["mean_test_score"]

# %%
# A restart. Of three with the learning rate that was found, the one with the highest score is
# kept, first of all one with no empty cluster.
best = clone(model).set_params(**search.best_params_, n_init=3).fit(images)
for restart in best.restarts_:
    print(f"score {restart['score']:.3f}", "selected" if restart["selected"] else "")

# %%
# The number of clusters. ``n_clusters="auto"`` begins with many and merges those that are confused
# more than by chance. `select_n_clusters` fits two halves of the samples with each number, here by
# k-means on the features just learnt, for it is quick: the largest number is taken with which each
# half tells the clusters of the other. Both are estimates, and need not agree.
auto = clone(best).set_params(n_clusters="auto", n_init=1).fit(images)
features = auto.transform(images)
selection = select_n_clusters(KMeans(n_init=3), features, range(2, 16), random_state=0)
print(f"auto finds {auto.n_clusters_} clusters, k-means on its features {selection.best}")

# %%
# What the labels say, after the fact: each setting is fitted to all images.
kmeans = KMeans(n_clusters=10, n_init=10, random_state=0).fit(images.reshape(len(images), -1))
rates = [setting["lr"] for setting in search.cv_results_["params"]]
fitted = {f"lr {lr:g}": clone(model).set_params(lr=lr).fit(images) for lr in rates}
compared = {"KMeans": kmeans, **fitted, "three restarts": best, "auto": auto}
nmi = {
    name: normalized_mutual_info_score(y, estimator.labels_) for name, estimator in compared.items()
}
print(f"{'':14} ACC    NMI")
for name, estimator in compared.items():
    acc = clustering_accuracy_score(y, estimator.labels_)
    print(f"{name:14} {acc:.3f}  {nmi[name]:.3f}")
of_rates = spearmanr(scores, [nmi[name] for name in fitted]).statistic
print(f"rank correlation of the score and NMI over the learning rates: {of_rates:.2f}")

# %%
# Left: the score, without labels and on halves of the images, beside what the labels say of fits to
# all; between methods of another kind they need not rise and fall together. Right: prediction
# strength, with its threshold, and stability by the number of clusters.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
left.plot(rates, scores, marker="o", label="score of held-out images, nats")
left.plot(rates, [nmi[name] for name in fitted], marker="s", label="NMI with the labels")
left.axvline(search.best_params_["lr"], color="0.6", linewidth=0.8, label="found")
left.set(xscale="log", xlabel="learning rate", ylim=(0, None))
left.spines[["top", "right"]].set_visible(False)
left.legend(frameon=False, fontsize=9)
NClustersDisplay.from_selection(selection, ax=right)
figure.savefig(output, dpi=110)
print(f"wrote {output}")
