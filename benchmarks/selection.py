"""How well `score`, which needs no labels, ranks runs and settings by their accuracy.

    python benchmarks/selection.py [--random-states 0 1]

Trains short single runs (10 epochs) on digits, on digits with unequal classes, and with other
settings; reports Spearman's rank correlation of `score` with ACC and NMI among runs of one setting
and across settings.
Results are kept in benchmarks/results/selection/, one file a run.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from _common import RESULTS, described, digits, environment, mean_std, metrics, run_missing, table
from scipy.stats import spearmanr
from sklearn.cluster import KMeans

from skdeepclust import STDACClustering
from skdeepclust._inputs import check_X
from skdeepclust._training._selection import NeighborCriterion

METRICS = ("acc", "nmi")
SETTINGS = {
    "default": {},
    "lr=1e-3": {"lr": 1e-3},
    "lr=3e-5": {"lr": 3e-5},
    "no augmentation": {"augmentation": None},
    "n_st_layers=0": {"n_st_layers": 0},
    "n_st_layers=3": {"n_st_layers": 3},
    "aux_weight=1": {"aux_weight": 1.0},
    "batch_size=128": {"batch_size": 128},
    "max_epochs=4": {"max_epochs": 4},
    "lower=0.95": {"lower": 0.95},
    "init=kmeans": {"init": "kmeans"},
    "mi_weight=1": {"mi_weight": 1.0},
}


def run(job: tuple[str, bool, int]) -> dict:
    setting, unequal, random_state = job
    images, y = digits(unequal=unequal)
    parameters = {"n_init": 1, "max_epochs": 10, **SETTINGS[setting]}
    estimator = STDACClustering(10, random_state=random_state, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = estimator.fit_predict(images)
    p = np.clip(estimator.predict_proba(images).astype(float), 1e-12, 1)
    mean = p.mean(0)
    return {
        "setting": setting,
        "unequal": unequal,
        "random_state": random_state,
        **metrics(y, labels),
        "score": estimator.score(images),
        "mutual information": float((p * np.log(p)).sum(1).mean() - (mean * np.log(mean)).sum()),
        "environment": environment(),
    }


def kmeans_score(unequal: bool) -> tuple[float, float]:
    """Return k-means' ACC and what `score` would give it."""
    images, y = digits(unequal=unequal)
    labels = KMeans(10, n_init=10, random_state=0).fit_predict(images.reshape(len(images), -1))
    X = check_X(STDACClustering(10), images, reset=True)
    return metrics(y, labels)["acc"], NeighborCriterion(X)(np.eye(10)[labels])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random-states", type=int, nargs="+", default=list(range(2)))
    parser.add_argument("--runs-of-default", type=int, default=6)
    args = parser.parse_args()
    folder = RESULTS / "selection"

    def results(setting: str, unequal: bool, states: list[int]) -> list[dict]:
        data = "unequal" if unequal else "digits"
        name = setting.replace(" ", "-").replace("=", "")
        return run_missing(
            [(folder / f"{data}-{name}-{s}.json", (setting, unequal, s)) for s in states], run
        )

    rows, correlations = [], []
    for unequal in (False, True):
        found = results("default", unequal, list(range(args.runs_of_default)))
        data = "digits, unequal classes" if unequal else "digits"
        correlations.append((f"runs of the default setting, {data}", found))
    everything = []
    for setting in SETTINGS:
        found = results(setting, False, args.random_states)
        everything += found
        rows.append([setting, *(mean_std(r[k] for r in found) for k in ("acc", "nmi", "score"))])
    correlations.append((f"runs of {len(SETTINGS)} settings, digits", everything))

    def rho(found: list[dict], key: str) -> str:
        both = (spearmanr([r[key] for r in found], [r[m] for r in found])[0] for m in METRICS)
        return " / ".join(f"{value:.2f}" for value in both)

    text = table(
        ["among", "runs", "`score`", "H(mean p) - mean H(p)"],
        [[name, len(f), rho(f, "score"), rho(f, "mutual information")] for name, f in correlations],
    )
    text += "\n\nSpearman's rank correlation with ACC / NMI.\n\n"
    text += table(["setting", "ACC", "NMI", "score"], rows)
    for unequal in (False, True):
        acc, score = kmeans_score(unequal)
        data = "digits, unequal classes" if unequal else "digits"
        text += f"\n\nk-means on {data}: ACC {acc:.3f}, score {score:.3f}."
    text += f"\n\n{described(everything[-1])}.\n"
    (RESULTS / "selection.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
