"""Weights for one protocol, trained on request and kept in a cache (torch, imported when a training runs)."""

import os
import sys
from pathlib import Path

from filelock import FileLock

from mrspec_prep.networks.compartments.any_protocol import protocol_map
from mrspec_prep.networks.compartments.recipe import Recipe
from mrspec_prep.networks.weights import read_weights, write_weights
from mrspec_prep.physics.hashes import protocol_hash

VERSION = 1  # of representation, network and training: a cache of another is not read
N_STEPS = 4000  # of 2,048 signals
RATE = 3e-3  # largest step of the optimiser
SIZES = {"width": 128, "n_blocks": 2, "n_mixed": 0}


def trained_weights(protocol, cache=None, seed=0, on_step=None, n_steps=N_STEPS, recipe=None):
    """Weights trained for a protocol, from the cache where it holds them.

    Parameters
    ----------
    protocol : Encodings
    cache : path, optional
        Folder; default ``user_cache()``.
    seed : int
    on_step : callable, optional
        Called as ``on_step(step, loss)``.
    n_steps : int
    recipe : Recipe, optional
        Law of tissue and noise; default: the paper's, noise as % of the signal's RMS.

    Returns
    -------
    arrays : dict of str to array
    manifest : dict
    path : Path

    """
    recipe = recipe or Recipe(noise_steps=0)
    what = {"recipe": recipe.as_dict(), "version": VERSION, "seed": seed, "n_steps": n_steps, "sizes": SIZES}
    efficiency = protocol.inversion_efficiency
    settings = what | {"inversion_efficiency": None if efficiency is None else [round(float(e), 6) for e in efficiency]}
    folder = Path(cache) if cache is not None else user_cache()
    path = folder / f"compartments-{protocol_hash(settings, protocol)}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # of jobs that need the same weights one trains, the others wait
        if not (path.exists() and path.with_suffix(".toml").exists()):
            write_weights(path, *train_for(protocol, recipe, n_steps, seed, on_step))
        return *read_weights(path), path


def train_for(protocol, recipe, n_steps, seed=0, on_step=None, start=None):
    """Train a network for one protocol; arrays and manifest.

    Parameters
    ----------
    protocol, recipe, n_steps, seed, on_step
        See ``trained_weights``.
    start : (arrays, manifest), optional
        Weights to go on from, of protocols that weight the same axes; default: from scratch.

    """
    from mrspec_prep.networks.compartments.any_training import KNOWN_RANGE, Pool, Trainer, Training
    from mrspec_prep.networks.compartments.calibration import fit_temperature

    pool = Pool([protocol_map(protocol, recipe)], recipe)
    sizes = SIZES if start is None else start[1]["network"]
    settings = Training(n_steps, n_protocols=2, n_signals=1024, seed=seed, rate=RATE if start is None else RATE / 3)
    trainer = Trainer(pool, settings, **sizes)
    if start is not None:
        trainer.start_from(start[0])
    network = trainer.run(on_step=on_step)
    arrays = {name: value.numpy() for name, value in network.state_dict().items()}
    arrays["temperature"] = fit_temperature(network, pool, seed=seed + 1, n_rounds=min(60, 1 + n_steps // 20))
    manifest = {
        "made_by": "CompartmentClassifier.for_protocol(protocol, train=True)",
        "version": VERSION,
        "seed": seed,
        "n_signals": n_steps * 2048,
        "process_seconds": round(trainer.seconds, 1),
        "loss": trainer.history[-1][1] if trainer.history else None,
        "levels": {"estimated": list(recipe.noise_range), "given": list(KNOWN_RANGE)},
        "recipe": {key: list(v) if isinstance(v, tuple) else v for key, v in recipe.as_dict().items()},
        "network": network.sizes,
    }
    return arrays, {key: value for key, value in manifest.items() if value is not None}


def user_cache():
    """Folder ``mrspec_prep`` of the user's cache on this platform."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache"
    return Path(base) / "mrspec_prep"
