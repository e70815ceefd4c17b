"""Learning from one noisy scan without its truth: recorrupted-to-recorrupted (Pang et al. 2021, CVPR).

Of signals y with noise sigma and standard normal z, y1 = y + a sigma z and y2 = y - sigma z / a have independent noise.
A network that sees y1 and is compared with y2 is therefore, on average, compared with the truth:
E|f(y1) - y2|^2 = E|f(y1) - truth|^2 + (1 + 1/a^2) sigma^2 per signal.
"""

from dataclasses import replace

from mrspec_prep.networks.scan_cnn.decays import rician_mean, synthesise


def recorrupted(images, protocol, strength, noise):
    """First image y1, second y2 and the protocol of the first.

    Parameters
    ----------
    images : (b, e, h, w) tensor
    protocol : Protocol
    strength : float
        a.
    noise : (b, e, h, w) tensor
        Standard normal.

    """
    sigma = protocol.noise_std
    return images + strength * sigma * noise, images - sigma / strength * noise, told(protocol, strength)


def told(protocol, strength):
    """Protocol of y1. A network that was taught by such images is told this noise of the images themselves, too.

    Told their own, less, it is where it was not taught: T2 then came out 4 ms too long in a phantom, 1 ms so.
    """
    return replace(protocol, noise_std=protocol.noise_std * (1 + strength**2) ** 0.5)


def misfit(network, images, weights, protocol, strength, noise):
    """Mean of |f(y1) - y2|^2 / sigma^2 over weighted voxels and echoes.

    For magnitudes the decay is compared by its expected magnitude.

    Parameters
    ----------
    network : module with ``estimate``
    images, noise : (b, e, h, w) tensors
    weights : (b, h, w) tensor
    protocol : Protocol
    strength : float

    """
    first, second, heard = recorrupted(images, protocol, strength, noise)
    found = network.estimate(first, heard)
    signals = synthesise(found.log_rate, found.amplitude, protocol.times(images))
    if protocol.magnitude:
        signals = rician_mean(signals, protocol.noise_std)
    squares = ((signals - second) ** 2).mean(1) * weights
    return squares.sum() / weights.sum() / protocol.noise_std**2


def misfit_of_noise(strength):
    """What ``misfit`` is at the truth."""
    return 1 + strength**-2
