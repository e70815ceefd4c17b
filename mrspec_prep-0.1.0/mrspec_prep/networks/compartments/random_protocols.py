"""Protocols at random: what the any-protocol network is trained on, and so the range it covers."""

import numpy as np

from mrspec_prep.physics import Encodings

#: kind of protocol: tissue axes it weights
KINDS = {"t1-t2": ("t1", "t2"), "t2": ("t2",), "t1": ("t1",)}
LARGEST = 600  # encodings


def random_protocol(kind, rng) -> Encodings:
    """Draw a protocol of a kind of ``KINDS``: product of inversion and echo times, part of one, or a list."""
    if kind == "t2":
        return Encodings(echo_time=_echo_times(_between(rng, 6, 64), rng))
    if kind == "t1":
        times = _inversion_times(_between(rng, 5, 32), rng)
        return Encodings(inversion_time=times, **_readout(times, rng))
    while True:
        echo, inversion = _echo_times(_between(rng, 3, 40), rng), _inversion_times(_between(rng, 3, 20), rng)
        if rng.random() < 0.15:  # a list of pairs
            n = _between(rng, 16, 200)
            inversion, echo = rng.choice(inversion, n), rng.choice(echo, n)
        else:
            inversion, echo = (axis.ravel() for axis in np.meshgrid(inversion, echo, indexing="ij"))
            if rng.random() < 0.2:
                keep = rng.random(len(echo)) < rng.uniform(0.4, 1)
                inversion, echo = inversion[keep], echo[keep]
        if 12 <= len(echo) <= LARGEST:
            protocol = Encodings(echo_time=echo, inversion_time=inversion, **_readout(inversion, rng))
            if len(protocol.varying()) == 2:
                return protocol


def _between(rng, low, high):
    """An integer, its logarithm uniform."""
    return int(np.exp(rng.uniform(np.log(low), np.log(high + 1))))


def _spaced(first, last, n, rng):
    """N increasing times: logarithmic, linear, in between, or logarithmic with jitter."""
    kind, steps = rng.integers(4), np.linspace(0, 1, n)
    logarithmic = first * (last / first) ** steps
    linear = first + (last - first) * steps
    if kind == 0:
        return logarithmic
    if kind == 1:
        return linear
    if kind == 2:
        part = rng.random()
        return part * logarithmic + (1 - part) * linear
    return np.sort(first * (last / first) ** rng.random(n))


def _echo_times(n, rng):
    if rng.random() < 0.35:  # multi-echo: multiples of the first
        return np.exp(rng.uniform(np.log(3), np.log(16))) * np.arange(1, n + 1)
    first = np.exp(rng.uniform(np.log(0.5), np.log(25)))
    last = np.exp(rng.uniform(np.log(max(4 * first, 50)), np.log(700)))
    return _spaced(first, last, n, rng)


def _inversion_times(n, rng):
    first = np.exp(rng.uniform(np.log(10), np.log(200)))
    return _spaced(first, np.exp(rng.uniform(np.log(1000), np.log(8000))), n, rng)


def _readout(inversion, rng):
    """Repetition time and inversion efficiency: mostly fully relaxed and perfect."""
    extra = {}
    if rng.random() < 0.25:
        extra["repetition_time"] = float(inversion.max() + np.exp(rng.uniform(np.log(100), np.log(6000))))
    if rng.random() < 0.25:
        extra["inversion_efficiency"] = 0.0 if rng.random() < 0.2 else float(rng.uniform(0.8, 1.0))
    return extra
