"""What other devices and systems need, as far as it can be seen on any machine."""

import errno
import os
import shutil
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from skdeepclust import DACClustering
from skdeepclust._files import written
from skdeepclust._memmap import allocate
from skdeepclust._torch_state import has_float64
from skdeepclust.inference import to_fastest_order
from skdeepclust.networks._base import AdaptiveAvgPool2d, AdaptiveMaxPool2d

MPS = torch.device("mps")


def test_convolutions_are_channels_last_but_on_mps():
    network = nn.Conv2d(3, 4, 3)
    to_fastest_order(network, torch.device("cpu"))
    assert network.weight.is_contiguous(memory_format=torch.channels_last)
    to_fastest_order(network, MPS)  # it may come from a fit elsewhere
    assert network.weight.is_contiguous()


@pytest.mark.parametrize("pool", [AdaptiveMaxPool2d((4, 4)), AdaptiveAvgPool2d((4, 4))])
@pytest.mark.parametrize(("side", "n_moves"), [(8, 0), (9, 2)])
def test_uneven_windows_are_pooled_on_the_cpu_on_mps(pool, side, n_moves):
    x = torch.rand(2, 3, side, side)
    expected = pool(x)
    moves = []

    class There(torch.Tensor):
        """On the CPU in truth."""

        device = MPS

        def cpu(self):
            moves.append("cpu")
            return self.as_subclass(Back)

    class Back(torch.Tensor):
        def to(self, device):
            moves.append(device)
            return self

    out = pool(x.as_subclass(There))
    assert torch.equal(out.as_subclass(torch.Tensor), expected)
    assert moves == ["cpu", MPS][:n_moves]


def test_float64(monkeypatch):
    assert has_float64(torch.device("cpu"))
    assert not has_float64(MPS)
    for number, found in enumerate([{"has_fp64": False}, {"has_fp64": True}, {}]):
        properties = SimpleNamespace(**found)
        monkeypatch.setattr(torch.xpu, "get_device_properties", lambda device, p=properties: p)
        assert has_float64(torch.device("xpu", number)) == found.get("has_fp64", True)


def test_bf16_where_there_is_no_autocast(images, monkeypatch):
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda device: False)
    with pytest.raises(ValueError, match="precision must be 'float32' or 'auto' on cpu"):
        DACClustering(3, precision="bf16").fit(images)


@pytest.mark.parametrize("n_times", [2, 9])
def test_files_that_others_look_into_on_windows(n_times, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("before")
    refused = iter(range(n_times))
    replace = type(path).replace

    def replaced(self, target):
        if next(refused, None) is not None:
            raise PermissionError(errno.EACCES, "in use")
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "replace", replaced)
        patch.setattr("time.sleep", lambda seconds: None)
        try:
            with written(path) as partial:
                partial.write_text("after")
                patch.setattr(os, "name", "nt")
        except PermissionError:
            assert n_times == 9
    assert path.read_text() == ("after" if n_times == 2 else "before")


def test_a_full_disk_where_nothing_reserves_space(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    allocate(path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=99))
    with pytest.raises(OSError, match="No space left") as caught:
        allocate(path)
    assert caught.value.errno == errno.ENOSPC
