"""Calibration: one temperature of the logits as a function of the noise level (torch)."""

import numpy as np
import torch

N_ROUNDS = 60  # of 16 protocols by 512 signals


def fit_temperature(network, pool, seed=1, n_rounds=N_ROUNDS):
    """Temperature that makes fresh signals most likely.

    Logits are divided by exp(t_0 + t_1 l + t_2 l^2), l the logarithm of the noise level (Guo et al. 2017, with a
    temperature that follows the noise).

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
    (2, 3) array
        t for estimated and for given noise levels.

    """
    return np.stack([_fit(network, pool, known, seed, n_rounds) for known in (False, True)])


def _fit(network, pool, known, seed, n_rounds):
    rng = np.random.default_rng([seed, int(known)])
    torch.manual_seed(seed * 2 + int(known))
    logits, levels, classes = [], [], []
    with torch.no_grad():
        for _ in range(n_rounds):
            chosen = rng.integers(0, len(pool), 16)
            features, level, truth, description = pool.draw(chosen, np.full(16, known), 512, rng)
            logits.append(network(features, level, description).flatten(0, 1))
            levels.append(level.flatten())
            classes.append(truth.flatten())
    logits, level, classes = torch.cat(logits), torch.cat(levels), torch.cat(classes)
    powers = torch.stack([torch.ones_like(level), level, level**2], dim=1)
    temperature = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.LBFGS([temperature], max_iter=50, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(logits / torch.exp(powers @ temperature)[:, None], classes)
        value.backward()
        return value

    optimiser.step(loss)
    return temperature.detach().numpy()
