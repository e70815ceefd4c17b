"""Where networks compute: processor or graphics card, and on how many threads."""

from contextlib import contextmanager

DEVICES = ("auto", "cpu", "cuda")


def check_device(device):
    """Raise ValueError for a name that is no device, also where nothing needs one."""
    if device not in DEVICES:
        raise ValueError(f"device must be auto, cpu or cuda, got {device!r}")


def device_of(device):
    """``cpu`` or ``cuda`` that ``auto``, ``cpu`` or ``cuda`` stands for on this machine.

    Raises
    ------
    ValueError
        Unknown name, or CUDA was asked for and PyTorch finds none.

    """
    check_device(device)
    if device == "cpu":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise ValueError(f"device = cuda, and PyTorch {torch.__version__} finds no CUDA graphics card on this machine")
    return "cpu"


@contextmanager
def one_thread():
    """Context in which PyTorch computes on one thread: its sums depend on their number, and small networks gain none.

    Results are then the same bytes whatever the machine; voxel loops of this package keep their threads.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
