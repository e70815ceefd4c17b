"""Train the weights of the classifier of compartments that the package ships, from the seed.

``python -m benchmarks.train_classifier`` draws random protocols (networks/compartments/random_protocols.py), simulates
fresh signals of random tissue at every step (Recipe: the paper's values, classes equally likely, noise 1-5 % of the
signal's RMS; where sigma is given .4-20 %), trains one network per kind of protocol, fits a temperature and writes
``compartments_<kind>.npz`` with its manifest. No data are read. A training that was stopped goes on from its last
checkpoint. The weights depend on seed and settings, and in their last bits on torch's version.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import mrspec_prep
from mrspec_prep.networks.compartments.any_protocol import protocol_map
from mrspec_prep.networks.compartments.any_training import KNOWN_RANGE, Pool, Trainer, Training
from mrspec_prep.networks.compartments.calibration import fit_temperature
from mrspec_prep.networks.compartments.coverage import training_range
from mrspec_prep.networks.compartments.random_protocols import KINDS, random_protocol
from mrspec_prep.networks.compartments.recipe import Recipe
from mrspec_prep.networks.weights import write_weights

DATA = Path(mrspec_prep.__file__).parent / "data"
RECIPE = Recipe(noise_steps=0)  # levels uniform over the range
SIZES = {"t1-t2": {"width": 160, "n_mixed": 3}, "t2": {"width": 96, "n_mixed": 2}, "t1": {"width": 96, "n_mixed": 2}}
STEPS = {"t1-t2": 14000, "t2": 2500, "t1": 8000}
N_PROTOCOLS = 10000
EVERY = 500  # steps between checkpoints


def main():
    """Train one kind after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=list(KINDS))
    parser.add_argument("--steps", type=int, help="of 3,072 signals; default: as the shipped weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--protocols", type=int, default=N_PROTOCOLS, help="random protocols to draw from")
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the weights")
    parser.add_argument("--checkpoints", type=Path, default=Path("classifier_checkpoints"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    for kind in args.kinds:
        train(kind, args.steps or STEPS[kind], args.seed, args.protocols, args.out, args.checkpoints)


def train(kind, n_steps, seed, n_protocols, out, checkpoints):
    """Train one kind of protocol, or go on with it, and write its weights."""
    rng = np.random.default_rng(seed + 1)
    maps = [protocol_map(random_protocol(kind, rng), RECIPE) for _ in range(n_protocols)]
    pool, settings = Pool(maps, RECIPE), Training(n_steps, seed=seed)
    trainer = Trainer(pool, settings, **SIZES[kind])
    checkpoint = checkpoints / f"{kind}_{n_steps}_{seed}.pt"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        trainer.load(checkpoint)
        print(f"{kind}: goes on at step {trainer.step}", flush=True)
    while trainer.step < n_steps:
        network = trainer.run(trainer.step + EVERY)
        trainer.save(checkpoint)
        loss = np.mean([value for _, value in trainer.history[-5:]])
        print(f"{kind}: step {trainer.step} of {n_steps}, loss {loss:.4f}, {trainer.seconds:.0f} s", flush=True)
    network = trainer.average
    arrays = {name: value.numpy() for name, value in network.state_dict().items()}
    arrays["temperature"] = fit_temperature(network, pool, seed=seed + 1)
    path = out / f"compartments_{kind}.npz"
    write_weights(path, arrays, manifest(kind, trainer, maps, seed))
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB", flush=True)


def manifest(kind, trainer, maps, seed):
    """Where the weights come from, in plain values."""
    steps, n_signals = trainer.settings.n_steps, trainer.settings.n_protocols * trainer.settings.n_signals
    return {
        "command": f"python -m benchmarks.train_classifier --kinds {kind} --steps {steps} --seed {seed} "
        f"--protocols {len(maps)}",
        "data": "fresh signals at every step, simulated (no measured data)",
        "version": mrspec_prep.__version__,
        "torch": torch.__version__.split("+")[0],
        "trained": time.strftime("%Y-%m-%d"),
        "seed": seed,
        "n_steps": steps,
        "n_signals": steps * n_signals,
        "n_protocols": len(maps),
        "process_seconds": round(trainer.seconds),
        "loss": round(float(np.mean([value for _, value in trainer.history[-10:]])), 4),
        "levels": {"estimated": list(RECIPE.noise_range), "given": list(KNOWN_RANGE)},
        "recipe": {key: list(v) if isinstance(v, tuple) else v for key, v in RECIPE.as_dict().items()},
        "range": training_range(maps),
        "network": trainer.network.sizes,
    }


if __name__ == "__main__":
    main()
