"""Networks: torch modules to give to ``network=``, and what they are built from."""

from skdeepclust.networks._adversarial import (
    AdversarialNetwork,
    ConvDiscriminator,
    ConvGenerator,
    DenseDiscriminator,
    DenseGenerator,
)
from skdeepclust.networks._autoencoder import (
    AutoencoderNetwork,
    ConvDecoder,
    ConvEncoder,
    DenseNetwork,
    Posterior,
)
from skdeepclust.networks._base import ClusterNetwork
from skdeepclust.networks._contrastive import RepresentationNetwork, SCANNetwork
from skdeepclust.networks._convolutional import AllConvEncoder, StridedEncoder, VGGEncoder
from skdeepclust.networks._dense import DenseEncoder
from skdeepclust.networks._heads import (
    CosineHeads,
    GaussianMixtureHead,
    MergingHead,
    MultiHead,
    StudentTHead,
    TaskHead,
)
from skdeepclust.networks._layered import (
    LayeredConvDecoder,
    LayeredConvEncoder,
    LayeredDenseNetwork,
    LayeredNetwork,
)
from skdeepclust.networks._resnet import ResNet18, SmallConvEncoder
from skdeepclust.networks._spatial_transformer import SpatialTransformer
from skdeepclust.networks._what_where import WhatWhereDecoder, WhatWhereEncoder

__all__ = [
    "AdversarialNetwork",
    "AllConvEncoder",
    "AutoencoderNetwork",
    "ClusterNetwork",
    "ConvDecoder",
    "ConvDiscriminator",
    "ConvEncoder",
    "ConvGenerator",
    "CosineHeads",
    "DenseDiscriminator",
    "DenseEncoder",
    "DenseGenerator",
    "DenseNetwork",
    "GaussianMixtureHead",
    "LayeredConvDecoder",
    "LayeredConvEncoder",
    "LayeredDenseNetwork",
    "LayeredNetwork",
    "MergingHead",
    "MultiHead",
    "Posterior",
    "RepresentationNetwork",
    "ResNet18",
    "SCANNetwork",
    "SmallConvEncoder",
    "SpatialTransformer",
    "StridedEncoder",
    "StudentTHead",
    "TaskHead",
    "VGGEncoder",
    "WhatWhereDecoder",
    "WhatWhereEncoder",
]
