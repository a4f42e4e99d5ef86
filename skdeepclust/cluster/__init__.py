"""Estimators, one private file for each family of methods."""

from skdeepclust.cluster._adc import ADCClustering
from skdeepclust.cluster._autoencoder import (
    AutoencoderClustering,
    SparseAutoencoderClustering,
    VAEClustering,
)
from skdeepclust.cluster._catgan import CatGANClustering
from skdeepclust.cluster._dac import DACClustering
from skdeepclust.cluster._dcgan import DCGANFeatures
from skdeepclust.cluster._dcn import DCNClustering
from skdeepclust.cluster._dec import DECClustering, IDECClustering
from skdeepclust.cluster._deep import DeepClustering
from skdeepclust.cluster._deepcluster import DeepClusterClustering
from skdeepclust.cluster._den import DENClustering
from skdeepclust.cluster._depict import DEPICTClustering
from skdeepclust.cluster._dgg import DGGClustering
from skdeepclust.cluster._ensemble import ConsensusClustering
from skdeepclust.cluster._iic import IICClustering
from skdeepclust.cluster._imsat import IMSATClustering, RIMClustering
from skdeepclust.cluster._infogan import InfoGANClustering
from skdeepclust.cluster._mcdc import ACAIClustering, MCDCClustering
from skdeepclust.cluster._n2d import N2DClustering
from skdeepclust.cluster._profeat import ProFeatClustering
from skdeepclust.cluster._scan import SCANClustering
from skdeepclust.cluster._simclr import SimCLR
from skdeepclust.cluster._st_dac import STDACClustering
from skdeepclust.cluster._swwae import SWWAEClustering
from skdeepclust.cluster._temi import TEMIClustering
from skdeepclust.cluster._triplet import TripletClustering
from skdeepclust.cluster._turtle import TURTLEClustering
from skdeepclust.cluster._vade import VaDEClustering

__all__ = [
    "ACAIClustering",
    "ADCClustering",
    "AutoencoderClustering",
    "CatGANClustering",
    "ConsensusClustering",
    "DACClustering",
    "DCGANFeatures",
    "DCNClustering",
    "DECClustering",
    "DENClustering",
    "DEPICTClustering",
    "DGGClustering",
    "DeepClusterClustering",
    "DeepClustering",
    "IDECClustering",
    "IICClustering",
    "IMSATClustering",
    "InfoGANClustering",
    "MCDCClustering",
    "N2DClustering",
    "ProFeatClustering",
    "RIMClustering",
    "SCANClustering",
    "STDACClustering",
    "SWWAEClustering",
    "SimCLR",
    "SparseAutoencoderClustering",
    "TEMIClustering",
    "TURTLEClustering",
    "TripletClustering",
    "VAEClustering",
    "VaDEClustering",
]
