"""Calibration: one temperature of the logits as a function of the noise level (torch)."""

import numpy as np
import torch

N_ROUNDS = 60  # of 16 protocols by 512 signals


def fit_temperature(network, pool, seed=1, n_rounds=N_ROUNDS):
    """Temperature that makes fresh signals most likely.

    Logits are divided by exp(t_0 + t_1 l + ... + t_4 l^4 + i (t_5 + t_6 l)), l the logarithm of the noise level, i that
    of what the protocol tells (Guo et al. 2017, with a temperature that follows noise and protocol).

    Parameters
    ----------
    network : AnyProtocolNetwork
    pool : Pool
        Protocols to draw from.
    seed : int
    n_rounds : int
        Of 8,192 signals.

    Returns
    -------
    (2, 7) array
        t for estimated and for given noise levels.

    """
    return np.stack([_fit(network, pool, known, seed, n_rounds) for known in (False, True)])


def _fit(network, pool, known, seed, n_rounds):
    rng = np.random.default_rng([seed, int(known)])
    torch.manual_seed(seed * 2 + int(known))
    logits, levels, told, classes = [], [], [], []
    with torch.no_grad():
        for _ in range(n_rounds):
            chosen = rng.integers(0, len(pool), 16)
            features, level, truth, description = pool.draw(chosen, np.full(16, known), 512, rng)
            logits.append(network(features, level, description).flatten(0, 1))
            levels.append(level.flatten())
            told.append(pool.information[chosen].repeat_interleave(512))
            classes.append(truth.flatten())
    logits, level, information, classes = (torch.cat(parts) for parts in (logits, levels, told, classes))
    powers = torch.stack([level**k for k in range(5)] + [information, information * level], dim=1)
    temperature = torch.zeros(7, requires_grad=True)
    optimiser = torch.optim.LBFGS([temperature], max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(logits / torch.exp(powers @ temperature)[:, None], classes)
        value.backward()
        return value

    optimiser.step(loss)
    return temperature.detach().numpy()
