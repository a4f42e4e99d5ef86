import os
import signal

# Read when torch is imported: threads that wait sleep, and leave the core to the other process.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Of NumPy and SciPy, which torch.set_num_threads does not reach.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import matplotlib
import pytest
import torch
from sklearn.datasets import load_digits

matplotlib.use("Agg")
# Two test processes with a thread each are faster than one with two, for small tensors.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits():
    """Scikit-learn's digits: images of shape (1797, 8, 8) with values 0 to 16, and labels."""
    data = load_digits()
    return data.images, data.target


@pytest.fixture(scope="session")
def images(digits):
    """The first 200 digits as uint8."""
    return digits[0][:200].astype("uint8")


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_interrupts():
    """Where a shell has started the tests in the background, the signal is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
