"""Architectures of the paper (Xu et al. 2024, Figure 4): three fully connected layers, one back to the parameters."""

import torch

ACTIVATIONS = {"relu": torch.nn.ReLU, "prelu": torch.nn.PReLU, "silu": torch.nn.SiLU}


def stack(randomness, n_in, width, n_layers, activation, n_out):
    """``n_layers`` fully connected layers of a width, each with an activation, and a linear one."""
    layers = []
    for layer in range(n_layers):
        layers.append(randomness.linear(n_in if layer == 0 else width, width))
        layers.append(ACTIVATIONS[activation]().to(randomness.device))
    return torch.nn.Sequential(*layers, randomness.linear(width, n_out))


class Voxelwise(torch.nn.Module):
    """Self-supervised network: signals to numbers of the parameters.

    Parameters
    ----------
    n_signals, n_numbers : int
    settings : PublishedSettings
    randomness : Randomness

    """

    def __init__(self, n_signals, n_numbers, settings, randomness):
        super().__init__()
        shape = settings.width or n_signals, settings.n_layers, settings.activation
        self.encoder = stack(randomness, n_signals, *shape, n_numbers)

    def forward(self, signals, temperature, randomness):
        """Numbers, and no divergences."""
        return self.encoder(signals), {}


class UnivariateVAE(torch.nn.Module):
    """VAE-UniG: q(z | S) = N(mu, sigma2), prior N(0, 1), decoder of one layer.

    Parameters
    ----------
    n_signals, n_numbers : int
    settings : PublishedSettings
    randomness : Randomness

    """

    def __init__(self, n_signals, n_numbers, settings, randomness):
        super().__init__()
        shape = settings.width or n_signals, settings.n_layers, settings.activation
        self.encoder = stack(randomness, n_signals, *shape, settings.n_latent)
        self.mean = randomness.linear(settings.n_latent, settings.n_latent)
        self.log_variance = randomness.linear(settings.n_latent, settings.n_latent)
        self.decoder = randomness.linear(settings.n_latent, n_numbers)

    def latent(self, signals):
        """Means and log variances (n, n_latent)."""
        features = self.encoder(signals)
        return self.mean(features), self.log_variance(features)

    def forward(self, signals, temperature, randomness):
        """Numbers of one draw, and the divergence from the prior (n,)."""
        mean, log_variance = self.latent(signals)
        z = mean + (0.5 * log_variance).exp() * randomness.normal(*mean.shape)
        zero = torch.zeros_like(mean)
        return self.decoder(z), {"kl": gaussian_divergence(mean, log_variance, zero, zero)}


class MixtureVAE(torch.nn.Module):
    """VAE-GMM: q(c | S) by Gumbel softmax, q(z | S, c) = N(mu, sigma2), prior sum_k pi_k N(m_k, s_k2) learned.

    Parameters
    ----------
    n_signals, n_numbers : int
    settings : PublishedSettings
    randomness : Randomness

    """

    def __init__(self, n_signals, n_numbers, settings, randomness):
        super().__init__()
        n, k = settings.n_latent, settings.n_components
        shape = settings.width or n_signals, settings.n_layers, settings.activation
        self.first = stack(randomness, n_signals, *shape, k)
        self.second = stack(randomness, n_signals + k, settings.width or n_signals, *shape[1:], n)
        self.mean, self.log_variance = randomness.linear(n, n), randomness.linear(n, n)
        self.decoder = randomness.linear(n, n_numbers)
        device = randomness.device
        self.prior_logits = torch.nn.Parameter(torch.zeros(k, device=device))
        start = torch.randn((k, n), generator=randomness.weights).to(device)
        self.prior_means = torch.nn.Parameter(start)
        self.prior_log_variances = torch.nn.Parameter(torch.zeros(k, n, device=device))

    def latent(self, signals, probs):
        """Means and log variances (n, n_latent) where the components have probabilities c (n, K)."""
        features = self.second(torch.cat([signals, probs], dim=1))
        return self.mean(features), self.log_variance(features)

    def forward(self, signals, temperature, randomness):
        """Numbers of one draw, and the divergences of components and latents from the prior (n,)."""
        logits = self.first(signals)
        chosen = ((logits + randomness.gumbel(*logits.shape)) / temperature).softmax(dim=1)
        mean, log_variance = self.latent(signals, chosen)
        z = mean + (0.5 * log_variance).exp() * randomness.normal(*mean.shape)
        given = mean[:, None], log_variance[:, None], self.prior_means, self.prior_log_variances
        parts = {
            "kl": (chosen * gaussian_divergence(*given)).sum(dim=1),
            "kl_clusters": categorical_divergence(logits, self.prior_logits),
        }
        return self.decoder(z), parts


def gaussian_divergence(mean, log_variance, prior_mean, prior_log_variance):
    """KL of N(mean, variance) from N(prior mean, prior variance), summed over the last axis [nats]."""
    ratio = (log_variance - prior_log_variance).exp()
    distance = (mean - prior_mean) ** 2 * (-prior_log_variance).exp()
    return 0.5 * (ratio + distance - 1 - log_variance + prior_log_variance).sum(dim=-1)


def categorical_divergence(logits, prior_logits):
    """KL of softmax(logits) (n, K) from softmax(prior logits) (K,) [nats]."""
    logs = logits.log_softmax(dim=-1)
    return (logs.exp() * (logs - prior_logits.log_softmax(dim=-1))).sum(dim=-1)
