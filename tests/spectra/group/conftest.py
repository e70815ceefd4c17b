"""Small groups of simulated participants with known clusters."""

from types import SimpleNamespace

import numpy as np
import pytest

from mrspec_prep.physics import Encodings, add_noise, default_grid, kernel_matrix, simulate_signals
from mrspec_prep.spectra.compression.reduction import reduce_kernel
from mrspec_prep.spectra.group.members import Member, Protocol

TISSUES = {"diffusivity": np.array([1.0, 1.0, 3.0, 20.0]), "t2star": np.array([40.0, 100.0, 60.0, 90.0])}
NOISE = 0.05


def encodings(echo_times, bvalues, n_repeats=2):
    """Every b-value at every echo time."""
    b, echo = np.meshgrid(np.repeat(bvalues, n_repeats), echo_times, indexing="ij")
    return Encodings(bvalue=b.ravel().astype(float), echo_time=echo.ravel().astype(float))


PROTOCOLS = [
    encodings((70, 110, 150, 190), (0, 20, 50, 200, 600, 1200, 2000)),
    encodings((60, 95, 130, 170, 220), (0, 10, 30, 100, 400, 800, 1600), 1),
]


def tissue_signals(scan, points=(16, 16)):
    """Clean signals of the tissues (n_tissues, n_encodings), S0 = 1, and the kernel on the common grid."""
    grid = default_grid(("diffusivity", "t2star"), PROTOCOLS[0], points=points)
    return simulate_signals("adc-t2star", scan, TISSUES), kernel_matrix("adc-t2star", scan, grid)


def simulate(labels, scan=0, gain=1.0, seed=0, scales=None):
    """Raw signals of voxels of these tissues, S0 about 2.5."""
    clean, _ = tissue_signals(PROTOCOLS[scan])
    rng = np.random.default_rng(seed)
    scales = np.ones(len(labels)) if scales is None else scales
    return add_noise(2.5 * gain * scales[:, None] * clean[labels], gain * NOISE, rng)


def member_of(signals, scan=0, site=0, noise_std=NOISE, dtype=float, freedom=None):
    """A member of raw signals."""
    reduced = reduce_kernel(tissue_signals(PROTOCOLS[scan])[1])
    compressed, outside = reduced.compress(signals)
    sigma = np.full(len(signals), noise_std)
    return Member(compressed.astype(dtype), sigma.astype(dtype), outside.astype(dtype), scan, site, freedom)


@pytest.fixture(scope="session")
def world():
    """How signals and members are made."""
    return SimpleNamespace(
        simulate=simulate, member_of=member_of, noise_std=NOISE,
        tissues=lambda scan: tissue_signals(PROTOCOLS[scan])[0],
        kernel=lambda scan: tissue_signals(PROTOCOLS[scan])[1],
    )  # fmt: skip


@pytest.fixture(scope="session")
def protocols():
    return [Protocol(reduce_kernel(tissue_signals(scan)[1])) for scan in PROTOCOLS]


@pytest.fixture(scope="session")
def one_protocol():
    """Three members of one protocol and site, with clusters in other proportions; the last one lacks tissue 3."""
    rng = np.random.default_rng(3)
    shares = [(0.4, 0.3, 0.2, 0.1), (0.1, 0.3, 0.3, 0.3), (0.5, 0.3, 0.2, 0.0)]
    labels = [rng.choice(4, 150, p=share) for share in shares]
    members = [member_of(simulate(one, seed=i)) for i, one in enumerate(labels)]
    return SimpleNamespace(members=members, labels=labels)


@pytest.fixture(scope="session")
def two_sites():
    """Four members: two of another protocol and of a site with a gain of 1.4."""
    rng = np.random.default_rng(4)
    labels = [rng.choice(4, 150, p=rng.dirichlet([4, 4, 4, 4])) for _ in range(4)]
    signals = [simulate(one, i % 2, 1.4 if i % 2 else 1.0, seed=i) for i, one in enumerate(labels)]
    members = [member_of(one, i % 2, i % 2, NOISE * (1.4 if i % 2 else 1.0)) for i, one in enumerate(signals)]
    return SimpleNamespace(members=members, labels=labels)
