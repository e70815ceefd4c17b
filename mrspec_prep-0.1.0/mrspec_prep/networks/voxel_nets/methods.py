"""Methods ``selfsup``, ``vae`` and ``gmm-vae``: settings of this package, or those of the paper."""

from mrspec_prep.networks.problem import chosen_settings
from mrspec_prep.networks.voxel_nets.amortised import AmortisedSettings, fit_amortised
from mrspec_prep.networks.voxel_nets.published import PublishedSettings, fit_published

PRESETS = {
    "selfsup": {
        "ours": PublishedSettings(
            width=64,
            activation="silu",
            bounds="sigmoid",
            amplitude="fitted",
            likelihood="measured",
            learning_rate=5e-3,
            schedule="one-cycle",
            clip=1.0,
        ),
        "paper": PublishedSettings(activation="prelu"),
    },
    "vae": {"ours": AmortisedSettings(n_components=1), "paper": PublishedSettings()},
    "gmm-vae": {"ours": AmortisedSettings(), "paper": PublishedSettings()},
}


def _fit(method, problem, seed, device, settings, on_step):
    settings, base = chosen_settings(method, PRESETS[method], settings)
    if isinstance(settings, AmortisedSettings):
        result = fit_amortised(problem, method, seed, device, settings, on_step)
    else:
        result = fit_published(problem, method, seed, device, settings, on_step)
    result.settings["base"] = base
    return result


def fit_selfsup(problem, seed=0, device="cpu", settings=None, on_step=None):
    """Return the method ``selfsup``: a network of every voxel on its own, no prior (``fit_maps``)."""
    return _fit("selfsup", problem, seed, device, settings, on_step)


def fit_vae(problem, seed=0, device="cpu", settings=None, on_step=None):
    """Return the method ``vae``: one Gaussian over the latent space, VAE-UniG (``fit_maps``)."""
    return _fit("vae", problem, seed, device, settings, on_step)


def fit_gmm_vae(problem, seed=0, device="cpu", settings=None, on_step=None):
    """Return the method ``gmm-vae``: a mixture of Gaussians over the latent space, VAE-GMM (``fit_maps``)."""
    return _fit("gmm-vae", problem, seed, device, settings, on_step)
