"""Every estimator with its defaults beside k-means, on digits.

python -m benchmarks digits [--random-states 0 1 2 3 4]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline

from benchmarks import records
from benchmarks.run import Fit, Job, Wanted
from skdeepclust import (
    ACAIClustering,
    ADCClustering,
    AutoencoderClustering,
    CatGANClustering,
    DACClustering,
    DCGANFeatures,
    DCNClustering,
    DECClustering,
    DeepClusterClustering,
    DeepClustering,
    DENClustering,
    DEPICTClustering,
    DGGClustering,
    IDECClustering,
    IICClustering,
    IMSATClustering,
    InfoGANClustering,
    MCDCClustering,
    N2DClustering,
    ProFeatClustering,
    RIMClustering,
    SCANClustering,
    SimCLR,
    SparseAutoencoderClustering,
    STDACClustering,
    SWWAEClustering,
    TEMIClustering,
    TripletClustering,
    TURTLEClustering,
    VaDEClustering,
    VAEClustering,
)

DATA = {
    "digits": lambda data_home: records.digits(),
    "digits-unequal": lambda data_home: records.digits(unequal=True),
}
SIZES = {"digits": 1797, "digits-unequal": 1080}
STATES = range(5)
ROWS = {
    "KMeans": lambda job: records.k_means(10),
    "DeepClustering": lambda job: DeepClustering(10),
    "DACClustering": lambda job: DACClustering(10),
    "STDACClustering": lambda job: STDACClustering(10),
    "AutoencoderClustering": lambda job: AutoencoderClustering(10),
    'AutoencoderClustering(corruption="masking")': lambda job: AutoencoderClustering(
        10, corruption="masking"
    ),
    "SparseAutoencoderClustering": lambda job: SparseAutoencoderClustering(10),
    "SWWAEClustering": lambda job: SWWAEClustering(10),
    "VAEClustering": lambda job: VAEClustering(10),
    "ACAIClustering": lambda job: ACAIClustering(10),
    "MCDCClustering": lambda job: MCDCClustering(10),
    'MCDCClustering(base="vae")': lambda job: MCDCClustering(10, base="vae"),
    'MCDCClustering(base="idec")': lambda job: MCDCClustering(10, base="idec"),
    "DECClustering": lambda job: DECClustering(10),
    "IDECClustering": lambda job: IDECClustering(10),
    "DCNClustering": lambda job: DCNClustering(10),
    "DENClustering": lambda job: DENClustering(10),
    "DEPICTClustering": lambda job: DEPICTClustering(10),
    "VaDEClustering": lambda job: VaDEClustering(10),
    "DGGClustering": lambda job: DGGClustering(10),
    "N2DClustering": lambda job: N2DClustering(10),
    "IMSATClustering": lambda job: IMSATClustering(10),
    "RIMClustering": lambda job: RIMClustering(10),
    "IICClustering": lambda job: IICClustering(10),
    "DeepClusterClustering": lambda job: DeepClusterClustering(10),
    "TripletClustering": lambda job: TripletClustering(10),
    "ADCClustering": lambda job: ADCClustering(10),
    "CatGANClustering": lambda job: CatGANClustering(10),
    "InfoGANClustering": lambda job: InfoGANClustering(10),
    "DCGANFeatures + KMeans": lambda job: make_pipeline(DCGANFeatures(), KMeans(10, n_init=10)),
    "SimCLR + KMeans": lambda job: make_pipeline(SimCLR(), KMeans(10, n_init=10)),
    "SCANClustering": lambda job: SCANClustering(10),
    "ProFeatClustering": lambda job: ProFeatClustering(10),
    "TEMIClustering": lambda job: TEMIClustering(10),
    "TURTLEClustering": lambda job: TURTLEClustering(10),
}
PAPER: dict[tuple[str, str], tuple] = {}
REMARKS = (
    "Mean ± standard deviation over the random states, defaults throughout (KMeans: n_init=10). "
    "SCAN, ProFeat, InfoGAN, CatGAN and DCGAN leave out the rest of each epoch, fewer images than "
    "a batch; while they trained on it, too, ACC on all digits was lower by 0.05 (SCAN, InfoGAN; "
    "DCGAN, two runs each), 0.03 (ProFeat) and 0.02 (CatGAN), but InfoGAN's on unequal classes "
    "higher by 0.11 (two runs each). STDACClustering's runs are of before its localisation "
    "networks began with Glorot's weights; random state 0 has an ACC of 0.849 with them, 0.851 "
    "without."
)
WANTED = [
    Wanted(ROWS, ["digits"], STATES, value=10, seconds=(200, 60)),
    Wanted(ROWS, ["digits-unequal"], range(3), value=3, seconds=(150, 60)),
]


def evaluate(job: Job, fit: Fit) -> dict[str, Any]:
    """Return the scores after each round of ProFeat."""
    rounds = getattr(fit.last, "round_labels_", [])
    return {"rounds": [records.metrics(job.y, labels) for labels in rounds]}


def figures(found: list[dict], folder: Path) -> None:
    """Draw the accuracy after each round of ProFeat, as its paper's figure 1 does."""
    import matplotlib.pyplot as plt

    found = [r for r in found if not r["set"] and r["n_samples"] == SIZES["digits"]]
    scores = {row: [r["scores"] for r in found if r["row"] == row] for row in ROWS}
    curves = [[r["acc"] for r in run["rounds"]] for run in scores["ProFeatClustering"]]
    if not curves:
        return
    figure, ax = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
    rounds = range(1, len(curves[0]) + 1)
    for curve in curves:
        ax.plot(rounds, curve, color="C0", alpha=0.3, linewidth=1)
    ax.plot(rounds, np.mean(curves, 0), "o-", color="C0", label=f"ProFeat, mean of {len(curves)}")
    lines = {"SCAN": "SCANClustering", "SimCLR + k-means": "SimCLR + KMeans", "k-means": "KMeans"}
    for number, (label, row) in enumerate(lines.items(), start=1):
        if not scores[row]:
            continue
        mean = np.mean([r["acc"] for r in scores[row]])
        ax.axhline(mean, color=f"C{number}", linestyle="--", linewidth=1.2)
        ax.annotate(
            f"{label}, mean", (rounds[-1], mean), xytext=(0, -3), textcoords="offset points",
            ha="right", va="top", fontsize=8, color=f"C{number}",
        )  # fmt: skip
    ax.margins(y=0.1)
    ax.set(xlabel="round", ylabel="ACC", xticks=rounds)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="center left")
    figure.savefig(folder / "digits-rounds.png", dpi=120)
    plt.close(figure)
