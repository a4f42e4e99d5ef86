"""The README's table: every estimator with its defaults beside k-means, on digits.

    python benchmarks/digits.py [--random-states 0 1 2 3 4]

Results are kept in benchmarks/results/digits/, one file a fit; delete them to run anew.
Labels are used for the figures alone.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from _common import RESULTS, described, digits, environment, mean_std, metrics, run_missing, table
from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline

import skdeepclust

DATA = {"digits": False, "digits-unequal": True}
METHODS = {  # what a row of the table is: a class and what is not a default
    "KMeans": {"n_init": 10},
    "DACClustering": {},
    "STDACClustering": {},
    "AutoencoderClustering": {},
    "VAEClustering": {},
    "ACAIClustering": {},
    "MCDCClustering": {},
    'MCDCClustering(base="vae")': {"base": "vae"},
    'MCDCClustering(base="idec")': {"base": "idec"},
    "DECClustering": {},
    "IDECClustering": {},
    "DCNClustering": {},
    "IMSATClustering": {},
    "SimCLR + KMeans": {},
    "SCANClustering": {},
    "ProFeatClustering": {},
}


def stem(method: str) -> str:
    """Return the part of a method in the file names."""
    return method.replace('(base="', "-").replace('")', "").replace(" + ", "-")


def run(job: tuple[str, str, int]) -> dict:
    method, data, random_state = job
    images, y = digits(unequal=DATA[data])
    parameters = {"n_clusters": 10, "random_state": random_state, **METHODS[method]}
    if method == "KMeans":
        estimator, X = KMeans(**parameters), images.reshape(len(images), -1)
    elif method == "SimCLR + KMeans":
        simclr = skdeepclust.SimCLR(random_state=random_state, verbose=1)
        kmeans = KMeans(10, n_init=10, random_state=random_state)
        estimator, X = make_pipeline(simclr, kmeans), images
    else:
        name, _, _ = method.partition("(")
        estimator, X = getattr(skdeepclust, name)(**parameters, verbose=1), images
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        labels = estimator.fit_predict(X)
    return {
        "method": method,
        "data": data,
        "random_state": random_state,
        "n_samples": len(X),
        "seconds": time.perf_counter() - start,
        **metrics(y, labels),
        "restarts": getattr(estimator, "restarts_", None),
        "rounds": [metrics(y, labels) for labels in getattr(estimator, "round_labels_", [])],
        "warnings": sorted({str(w.message) for w in caught}),
        "environment": environment(),
    }


def draw_rounds(folder: Path) -> None:
    """Draw the accuracy after each round of ProFeat, as its paper's figure 1 does."""
    import matplotlib.pyplot as plt

    def results(method: str) -> list[dict]:
        paths = sorted(folder.glob(f"digits-{stem(method)}-[0-9]*.json"))
        return [json.loads(path.read_text()) for path in paths]

    curves = [[r["acc"] for r in run["rounds"]] for run in results("ProFeatClustering")]
    if not curves:
        return
    figure, ax = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
    rounds = range(1, len(curves[0]) + 1)
    for curve in curves:
        ax.plot(rounds, curve, color="C0", alpha=0.3, linewidth=1)
    ax.plot(rounds, np.mean(curves, 0), "o-", color="C0", label=f"ProFeat, mean of {len(curves)}")
    lines = {"SCAN": "SCANClustering", "SimCLR + k-means": "SimCLR + KMeans", "k-means": "KMeans"}
    for number, (label, method) in enumerate(lines.items(), start=1):
        mean = np.mean([r["acc"] for r in results(method)])
        ax.axhline(mean, color=f"C{number}", linestyle="--", linewidth=1.2)
        ax.annotate(
            f"{label}, mean", (rounds[-1], mean), xytext=(0, 3), textcoords="offset points",
            ha="right", fontsize=8, color=f"C{number}",
        )  # fmt: skip
    ax.set(xlabel="round", ylabel="ACC", xticks=rounds)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc=(0.02, 0.17))
    figure.savefig(RESULTS / "digits-rounds.png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random-states", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--render", action="store_true", help="run nothing")
    args = parser.parse_args()
    folder = RESULTS / "digits"
    if not args.render:
        for data in args.data:
            for method in args.methods:
                jobs = [
                    (folder / f"{data}-{stem(method)}-{state}.json", (method, data, state))
                    for state in args.random_states
                ]
                run_missing(jobs, run)
    rows = []
    for data in DATA:
        for method in METHODS:
            results = [
                json.loads(p.read_text()) for p in folder.glob(f"{data}-{stem(method)}-[0-9]*.json")
            ]
            if results:
                cells = [mean_std(r[key] for r in results) for key in ("acc", "nmi", "ari")]
                # None: of a process that was suspended
                seconds = [r["seconds"] for r in results if r["seconds"] is not None]
                seconds = f"{np.mean(seconds):.0f}"
                rows.append([data, method, len(results), *cells, seconds])
                last = results[-1]
    header = ["data", "estimator", "random states", "ACC", "NMI", "ARI", "seconds a fit"]
    text = table(header, rows)
    text += "\n\nMean ± standard deviation over the random states, defaults throughout (KMeans: "
    text += f"n_init=10). Versions of the last: {described(last)}.\n"
    (RESULTS / "digits.md").write_text(text)
    draw_rounds(folder)
    print(text)


if __name__ == "__main__":
    main()
