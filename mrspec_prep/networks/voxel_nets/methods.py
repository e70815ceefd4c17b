"""Methods ``selfsup``, ``vae`` and ``gmm-vae``: settings of this package, or those of the paper."""

from dataclasses import replace

from mrspec_prep.networks.problem import settings_of
from mrspec_prep.networks.voxel_nets.amortised import AmortisedSettings, fit_amortised
from mrspec_prep.networks.voxel_nets.published import PublishedSettings, fit_published

PAPER = {"selfsup": PublishedSettings(activation="prelu"), "vae": PublishedSettings(), "gmm-vae": PublishedSettings()}
OURS = {
    "selfsup": PublishedSettings(
        width=64,
        activation="silu",
        bounds="sigmoid",
        amplitude="fitted",
        likelihood="measured",
        learning_rate=5e-3,
        schedule="one-cycle",
        clip=1.0,
    ),
    "vae": AmortisedSettings(n_components=1),
    "gmm-vae": AmortisedSettings(),
}


def chosen_settings(method, given):
    """Settings of a network and their name, ``ours`` or ``paper``.

    Parameters
    ----------
    method : str
    given : None, str, dict or settings
        None or ``ours``; ``paper``; or a dict of changes to either, named by its entry ``base``.

    Raises
    ------
    ValueError
        Unknown names.

    """
    changes = {"base": given or "ours"} if given is None or isinstance(given, str) else given
    base = changes.get("base", "ours") if isinstance(changes, dict) else "ours"
    if base not in ("ours", "paper"):
        raise ValueError(f"settings of {method} are ours or paper, got {base!r}")
    start = (OURS if base == "ours" else PAPER)[method]
    if not isinstance(changes, dict):
        return settings_of(type(start), changes), base
    changes = {name: value for name, value in changes.items() if name != "base"}
    settings_of(type(start), changes)  # refuses unknown names
    return replace(start, **changes), base


def _fit(method, problem, seed, device, settings, on_step):
    settings, base = chosen_settings(method, settings)
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
