"""Devices by name, and threads of PyTorch."""

import pytest
import torch

from mrspec_prep.networks.device import device_of, one_thread


def test_devices_by_name():
    assert device_of("cpu") == "cpu"
    assert device_of("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="auto, cpu or cuda, got 'gpu'"):
        device_of("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA graphics card")
def test_cuda_is_refused_where_there_is_none():
    with pytest.raises(ValueError, match="no CUDA graphics card"):
        device_of("cuda")


def test_threads_are_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
