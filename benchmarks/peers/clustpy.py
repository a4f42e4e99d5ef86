"""One fit of ClustPy for __main__.py, which starts it in ClustPy's own environment.

    python -m benchmarks.peers.clustpy job.json result.json

It imports nothing of skdeepclust.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch


def import_torchvision() -> None:
    """Import torchvision, which ClustPy imports, though nothing here uses it.

    A torchvision built for CUDA does not find its compiled operators beside a torch built for
    the CPU, and describes two of them without asking whether they are there.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401

        import_torchvision.library = library  # what it defines goes when it goes


OWN_LABELS = {
    "DEC": "dec_labels_",
    "IDEC": "dec_labels_",
    "DCN": "dcn_labels_",
    "VaDE": "vade_labels_",
    "N2D": "labels_",
    "DEN": "labels_",
}
FINAL = ("final k-means", "final mixture")


def umap_params(job: dict[str, Any]) -> dict[str, Any]:
    """Return N2D's settings of UMAP, which are skdeepclust's defaults."""
    return {
        "n_neighbors": 20,
        "n_components": job["n_clusters"],
        "min_dist": 0.0,
        "random_state": job["random_state"],
        "n_jobs": 1,
    }


def weight(job: dict[str, Any]) -> dict[str, float]:
    """Return the weight of the clustering loss, where it is to be the same and there is one."""
    given = job["clustering_weight"] if job["losses"] == "same" else None
    return {} if given is None else {"clustering_loss_weight": given}


class TimedLoader:
    """A data loader that notes when each pass over it starts."""

    def __init__(self, loader: Any, name: str, starts: list[tuple[str, float]]) -> None:
        self.loader, self.name, self.starts = loader, name, starts

    def __iter__(self) -> Iterator[Any]:
        self.starts.append((self.name, time.perf_counter()))
        return iter(self.loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Pretrain ClustPy's auto-encoder, then hand it to the method; time each epoch of both."""
    import_torchvision()
    from clustpy import deep
    from clustpy.deep.neural_networks import FeedforwardAutoencoder
    from clustpy.deep.vade import _VaDE_VAE

    torch.set_num_threads(job["threads"])
    method, random_state, batch_size = job["method"], job["random_state"], job["batch_size"]
    is_vade = method == "VaDE"  # which takes pixels in [0, 1] and their cross-entropy
    data = np.load(job["data"])
    X = (data["images"] / 255.0).astype(np.float32) if is_vade else data["standardised"]
    starts: list[tuple[str, float]] = []

    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])  # the first one imports a lot: seconds
    begin = time.perf_counter()
    train = TimedLoader(deep.get_dataloader(X, batch_size, shuffle=True), "train", starts)
    test = TimedLoader(deep.get_dataloader(X, batch_size, shuffle=False), "test", starts)
    deep.set_torch_seed(random_state)  # the weights are drawn before any fit sets a seed
    network = _VaDE_VAE if is_vade else FeedforwardAutoencoder
    autoencoder = network(
        layers=[X.shape[1], *job["hidden_sizes"], job["latent_size"]],
        activation_fn=torch.nn.ReLU,
        random_state=random_state,
    )
    given = {
        "n_clusters": job["n_clusters"],
        "neural_network": autoencoder,
        "batch_size": batch_size,
        "embedding_size": job["latent_size"],
        "device": "cpu",
        "random_state": random_state,
    }
    losses: dict[str, Any] = {}
    if is_vade:
        losses["ssl_loss_fn"] = torch.nn.BCELoss(reduction="sum")
    elif job["losses"] == "same":
        losses["ssl_loss_fn"] = torch.nn.MSELoss()
    if method == "DEN":  # which trains the auto-encoder itself
        estimator = deep.DEN(
            n_neighbors=6,  # itself is one of them
            group_size=None,  # as the latents make them
            pretrain_epochs=job["pretrain_epochs"],
            pretrain_optimizer_params={"lr": job["pretrain_lr"]},
            **given,
            **losses,
        )
        near = deep.get_dataloader(
            X, batch_size, shuffle=True, additional_inputs=estimator._get_nearest_neighbors(X)
        )
        estimator.custom_dataloaders = TimedLoader(near, "train", starts), test
        estimator.fit(X)
        seconds = time.perf_counter() - begin
        passes = [start for name, start in starts if name == "train"][-job["pretrain_epochs"] :]
        return result(job, estimator, np.diff([*passes, starts[-1][1]]), [], seconds)
    autoencoder.fit(
        n_epochs=job["pretrain_epochs"],
        optimizer_params={"lr": job["pretrain_lr"]},
        dataloader=train,
        **losses,
    )
    pretraining = np.diff([start for _, start in starts] + [time.perf_counter()])

    del starts[:]
    n_epochs = 0 if method == "N2D" else job["max_epochs"]
    if method == "N2D":
        from umap import UMAP  # which is none of ClustPy's dependencies

        options = {"manifold_class": UMAP, "manifold_params": umap_params(job)}
    else:
        options = {
            "clustering_optimizer_params": {"lr": job["lr"]},
            "clustering_epochs": n_epochs,
            "initial_clustering_params": {"n_init": 1, "covariance_type": "diag"}
            if is_vade
            else {"n_init": job["kmeans_n_init"]},
        }
        options |= weight(job)
    estimator = getattr(deep, method)(
        custom_dataloaders=(train, test), **given, **options, **losses
    ).fit(X)
    seconds = time.perf_counter() - begin
    # It looks at the number of features, encodes for the first clusters, trains, predicts, and
    # encodes for the last clusters: an epoch lasts until the next pass begins.
    passes = ["train", "test", *["train"] * n_epochs, *["test"] * 2 * (n_epochs > 0)]
    if [name for name, _ in starts] != passes:
        raise RuntimeError(f"ClustPy's passes over the data are not as expected: {starts}")
    clustering = np.diff([start for _, start in starts[2 : 3 + n_epochs]])

    return result(job, estimator, pretraining, clustering, seconds)


def result(
    job: dict[str, Any], estimator: Any, pretraining: Any, clustering: Any, seconds: float
) -> dict[str, Any]:
    """Return what a fit gave and took, with the seconds of each epoch."""
    labels = {"own": getattr(estimator, OWN_LABELS[job["method"]])}
    if len(clustering):
        labels[FINAL[job["method"] == "VaDE"]] = estimator.labels_
    parameters = estimator.get_params()
    return {
        "labels": {name: np.asarray(found).tolist() for name, found in labels.items()},
        "pretraining": list(map(float, pretraining)),
        "clustering": list(map(float, clustering)),
        "seconds": seconds,
        "parameters": {
            name: value
            if isinstance(value, int | float | dict | None)
            else getattr(value, "__name__", str(value))
            for name, value in parameters.items()
            if name not in ("neural_network", "custom_dataloaders")
        },
        "network": str(estimator.neural_network_trained_),
        "environment": {
            "n_cpus": os.cpu_count(),
            "n_threads": torch.get_num_threads(),
            "device": "cpu",
            "python": platform.python_version(),
            "torch": torch.__version__,
            "scikit-learn": version("scikit-learn"),
            "numpy": np.__version__,
            "clustpy": version("clustpy"),
        },
    }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(run(json.loads(Path(sys.argv[1]).read_text()))))
