"""Deep clustering with scikit-learn's API."""

from skdeepclust import augment, datasets, metrics, networks, plotting
from skdeepclust.cluster import (
    ACAIClustering,
    AutoencoderClustering,
    DACClustering,
    DCNClustering,
    DECClustering,
    DeepClustering,
    DENClustering,
    DEPICTClustering,
    IDECClustering,
    IICClustering,
    IMSATClustering,
    MCDCClustering,
    N2DClustering,
    ProFeatClustering,
    RIMClustering,
    SCANClustering,
    SimCLR,
    STDACClustering,
    VaDEClustering,
    VAEClustering,
)
from skdeepclust.kmeans import k_means

__version__ = "0.1.0.dev0"

__all__ = [
    "ACAIClustering",
    "AutoencoderClustering",
    "DACClustering",
    "DCNClustering",
    "DECClustering",
    "DENClustering",
    "DEPICTClustering",
    "DeepClustering",
    "IDECClustering",
    "IICClustering",
    "IMSATClustering",
    "MCDCClustering",
    "N2DClustering",
    "ProFeatClustering",
    "RIMClustering",
    "SCANClustering",
    "STDACClustering",
    "SimCLR",
    "VAEClustering",
    "VaDEClustering",
    "augment",
    "datasets",
    "k_means",
    "metrics",
    "networks",
    "plotting",
]
