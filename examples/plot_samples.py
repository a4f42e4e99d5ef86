"""
==============================
What clusters look like, drawn
==============================

Two ways to ask a model what it takes a cluster for: VaDE, a mixture of Gaussians in the latents of
a variational auto-encoder, draws new images of each; of MCDC, whose clusters are those of k-means
on the latents, the decoder shows the centres. Needs the extra ``skdeepclust[plot]``.
"""

# %%
# The data come with scikit-learn: images of shape (n, height, width).
import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier

from skdeepclust import MCDCClustering, VaDEClustering
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.plotting import ClusterSamplesDisplay

parser = argparse.ArgumentParser(description="Draw clusters of digits.")
parser.add_argument("--output", default="samples.png", help="where the picture goes")
output = parser.parse_args().output

images, y = load_digits().images, load_digits().target
kmeans = KMeans(n_clusters=10, n_init=10, random_state=0).fit(images.reshape(len(images), -1))
vade = VaDEClustering(n_clusters=10, n_init=1, random_state=0, verbose=1).fit(images)
mcdc = MCDCClustering(n_clusters=10, n_init=1, random_state=0, verbose=1).fit(images)

# %%
# The true digits serve to compare, after the fact, and to put the clusters into order.
print(f"{'':16} ACC    NMI")
for estimator in (kmeans, vade, mcdc):
    acc = clustering_accuracy_score(y, estimator.labels_)
    nmi = normalized_mutual_info_score(y, estimator.labels_)
    print(f"{type(estimator).__name__:16} {acc:.3f}  {nmi:.3f}")

# %%
# VaDE draws from the Gaussian of a cluster. MCDC has no distribution of its latents; here each
# cluster gets a Gaussian with the mean and the covariance of its latents.
rng = np.random.default_rng(0)
latents = mcdc.transform(images)
drawn = {
    "VaDE": [vade.sample(100, cluster=k, random_state=0) for k in range(10)],
    "MCDC": [
        mcdc.inverse_transform(rng.multivariate_normal(z.mean(0), np.cov(z.T), 100))
        for z in (latents[mcdc.labels_ == k] for k in range(10))
    ],
}

# %%
# How good are they? Of the drawn images, the share whose most similar real one shows the digit that
# prevails in the cluster; beside it the share of the real images in the clusters that show it. The
# first may be higher, for most draws are from the middle of a cluster. It says nothing of how
# various they are.
nearest = KNeighborsClassifier(1).fit(images.reshape(len(images), -1), y)
names = {}
print("      drawn  real")
for name, model in {"VaDE": vade, "MCDC": mcdc}.items():
    names[name] = np.array(
        [np.bincount(y[model.labels_ == k], minlength=10).argmax() for k in range(10)]
    )
    shown = [nearest.predict(x.reshape(100, -1)) for x in drawn[name]]
    good = np.mean(shown == names[name][:, None])
    print(f"{name}  {good:.0%}    {(names[name][model.labels_] == y).mean():.0%}")

# %%
# Each row is a cluster, named by the digit that prevails in it: some digits have two, others none.
# Left: what VaDE draws; a column is made of the same noise. Right: MCDC's clusters, first the mean
# of their images, then what the decoder makes of the mean of their latents, which is less blurred,
# then draws. All are smoother than what was scanned, and some are no digit.
centres = mcdc.inverse_transform(np.stack([latents[mcdc.labels_ == k].mean(0) for k in range(10)]))
means = np.stack([images[mcdc.labels_ == k].mean(0) for k in range(10)])
blank = np.full((10, 1, 8, 8), np.nan)
rows = {
    "VaDE": np.stack([x[:10] for x in drawn["VaDE"]]),
    "MCDC": np.hstack(
        [means[:, None], centres[:, None], blank, np.stack([x[:7] for x in drawn["MCDC"]])]
    ),
}
titles = {"VaDE": "VaDE: drawn", "MCDC": "MCDC: mean image, decoded centre; drawn"}
figure, axes = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained")
for ax, (name, pictures) in zip(axes, rows.items(), strict=True):
    order = np.argsort(names[name], kind="stable")
    ClusterSamplesDisplay(pictures[order], cluster_names=names[name][order]).plot(ax=ax)
    ax.set_title(titles[name], fontsize=10)
figure.savefig(output, dpi=110)
print(f"wrote {output}")
