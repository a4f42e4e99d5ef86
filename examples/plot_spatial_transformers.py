"""
======================================
Spatial transformers, before and after
======================================

Clusters 5,000 images of MNIST with ST-DAC, whose network begins with a layer that learns to turn,
shift and zoom each image, with and without that layer, and draws what figures 4 to 6 of its paper
show. Needs the extras ``skdeepclust[plot,data]``.

The paper has all 70,000 images and a network that takes an hour or more on one core; here it is a
small one, for a few minutes. The record of the paper's own is that of
``python -m benchmarks st_dac``.
"""

# %%
# MNIST is downloaded once. The layer stands before a small network; of the estimator's own,
# ``n_st_layers`` says how many it has.
import argparse

from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from skorch.callbacks import Callback
from torch import nn

from skdeepclust import STDACClustering
from skdeepclust.datasets import load_mnist
from skdeepclust.inference import evaluation_mode, forward_in_slices, reestimate_batch_norm
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.networks import SmallConvEncoder, SpatialTransformer
from skdeepclust.plotting import (
    ClusterStatisticsDisplay,
    SpatialTransformerDisplay,
    TrainingCurvesDisplay,
)

parser = argparse.ArgumentParser(description="Cluster MNIST with spatial transformers.")
parser.add_argument("--output", default="spatial_transformers.png", help="where figure 5 goes")
parser.add_argument("--n-images", type=int, default=5000)
parser.add_argument("--epochs", type=int, default=15, help="of training")
arguments = parser.parse_args()

images, y = load_mnist(return_X_y=True)
images, y = images[: arguments.n_images], y[: arguments.n_images]


def transformed(input_shape):
    """Return the small network behind a spatial transformer."""
    return nn.Sequential(SpatialTransformer(input_shape), SmallConvEncoder(input_shape))


# %%
# A callback looks at the network after each epoch, with the true digits, which have no part in the
# training.
class Look(Callback):
    """Record the accuracy of an epoch."""

    def on_epoch_end(self, net, dataset_train, **kwargs):
        reestimate_batch_norm(net.module_, dataset_train)
        with evaluation_mode(net.module_):
            labels = forward_in_slices(net.module_, dataset_train).argmax(1).cpu()
        net.history.record("ACC", clustering_accuracy_score(y, labels))


model = STDACClustering(
    n_clusters=10,
    network=transformed,
    n_init=1,
    max_epochs=arguments.epochs,
    batch_size=32,
    lr=1e-3,
    callbacks=[Look()],
    random_state=0,
)
first_epoch = clone(model).set_params(max_epochs=1).fit(images)
plain = clone(model).set_params(network=SmallConvEncoder)
kmeans = KMeans(n_clusters=10, n_init=3, random_state=0)
kmeans.fit(images.reshape(len(images), -1) / 255)

print(f"{'':32} ACC    NMI")
for name, estimator in {
    "KMeans": kmeans,
    "without the spatial transformer": plain.fit(images),
    "with it": model.fit(images),
}.items():
    acc = clustering_accuracy_score(y, estimator.labels_)
    nmi = normalized_mutual_info_score(y, estimator.labels_)
    print(f"{name:32} {acc:.3f}  {nmi:.3f}")

# %%
# The paper's figure 4: images, what the layer makes of them after one epoch and after the last. It
# begins as a zoom into the middle.

# sphinx_gallery_thumbnail_number = 2
stages = {"after 1 epoch": first_epoch.spatial_transform(images[:8])}
display = SpatialTransformerDisplay.from_estimator(model, images[:8], stages=stages)

# %%
# Figure 5: what the images of each cluster have in common, and where they differ. The sharper a
# mean and the thinner the edges of a deviation, the more alike is the pose of its images. Where a
# digit has two clusters, of another slant say, these may look more alike behind the layer.
display = ClusterStatisticsDisplay.from_estimator(model, images)
display.figure_.savefig(arguments.output, dpi=110)
print(f"wrote {arguments.output}")

# %%
# Figure 6: how well the clusters agree with the digits, epoch by epoch. One run each tells little
# of which network is better: the paper has the means of ten.
histories = {"without the spatial transformer": plain.history_, "with it": model.history_}
display = TrainingCurvesDisplay.from_histories(histories, columns="ACC")
