"""Samples as they are stored and as they are given."""

import numpy as np
import pytest
import torch

from skdeepclust import AutoencoderClustering
from skdeepclust._inputs import check_X
from skdeepclust.samples import Chunks, Samples


def samples(X):
    return check_X(AutoencoderClustering(3), X, reset=True)


@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_bytes_stay_bytes_and_stand_for_the_same_numbers(images, dtype):
    X = (images > 8) if dtype == "bool" else images
    stored, floats = samples(X), samples(X.astype("float64"))
    assert stored.values.dtype == torch.uint8
    assert floats.values.dtype == torch.float32
    assert torch.equal(stored[:], floats[:])
    index = torch.tensor([7, 3, 3])
    assert torch.equal(stored[index], floats[:][index])
    assert torch.equal(torch.cat(list(stored.slices(64))), floats[:])
    assert stored.aminmax() == floats.aminmax()
    assert stored.shape == (200, 1, 8, 8)
    assert len(stored) == 200


def test_samples_are_standardised(images):
    for X in (images, images.astype("float32"), images.astype("int64") + 10**12):
        values = samples(X)[:].double()
        assert values.mean().item() == pytest.approx(0, abs=1e-5)
        assert values.std(correction=0).item() == pytest.approx(1, abs=1e-6)


def test_the_caller_keeps_the_array(images):
    X = images.copy()
    stored = samples(X)
    AutoencoderClustering(3, n_init=1, max_epochs=1, augmentation=lambda x: x.zero_()).fit(X)
    np.testing.assert_array_equal(X, images)
    assert stored[:10].data_ptr() != stored.values.data_ptr()


def test_chunks_in_an_order_of_their_own():
    X = Samples(torch.arange(20.0)[:, None])
    order = torch.tensor([5, 5, 1, 19, 0])
    chunks = list(Chunks(X, batch_size=2, chunk_size=4)(order))
    assert torch.cat([index for _, index in chunks]).tolist() == order.tolist()
    for x, index in chunks:
        assert torch.equal(x, X[index])
