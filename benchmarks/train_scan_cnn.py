"""Train the weights that T2 maps of a scan start from, from a seed; no measured data are read.

    python -m benchmarks.train_scan_cnn --out FOLDER

Leaf images under random protocols and noise (networks/scan_cnn/pretraining.py). Writes ``scan_cnn.npz`` (half
precision, no pickle) with its manifest, and again every 500 steps what has been learned so far. The weights depend on
seed and settings, and in their last bits on torch's version.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import mrspec_prep
from mrspec_prep.networks.scan_cnn.leaf_images import leaf_image
from mrspec_prep.networks.scan_cnn.network import new_network
from mrspec_prep.networks.scan_cnn.pretraining import Pretraining
from mrspec_prep.networks.weights import write_weights

DATA = Path(mrspec_prep.__file__).parent / "data"
STEPS, IMAGES, EVERY, SAID = 3000, 800, 500, 100


def main():
    """Draw images, train, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="of 8 images of 48 x 48 voxels")
    parser.add_argument("--images", type=int, default=IMAGES, help="leaf images to cut them from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=DATA)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng([args.seed, 1])
    pool = np.stack([leaf_image(rng) for _ in range(args.images)]).astype(np.float16)
    print(f"{len(pool)} images", flush=True)
    training, start = Pretraining(new_network(args.seed), pool, args.steps, args.seed), time.process_time()
    while training.step < args.steps:
        training.run(training.step + SAID)
        loss, rate, amplitude = np.mean(training.history[-SAID:], axis=0)
        seconds = time.process_time() - start
        print(
            f"{training.step} of {args.steps}: loss {loss:.3f}, errors over the bound of one voxel: rate {rate:.3f}, "
            f"amplitude {amplitude:.3f}; {seconds:.0f} s",
            flush=True,
        )
        if training.step % EVERY == 0 or training.step == args.steps:
            write(training, args, seconds)


def write(training, args, seconds):
    """Write the averaged weights and where they come from."""
    arrays = {name: value.numpy() for name, value in training.average.items()}
    command = f"python -m benchmarks.train_scan_cnn --steps {args.steps} --images {args.images} --seed {args.seed}"
    manifest = {
        "command": command,
        "data": "leaf images, simulated (no measured data)",
        "version": mrspec_prep.__version__,
        "torch": torch.__version__.partition("+")[0],
        "step": training.step,
        "process_seconds": round(seconds),
    }
    write_weights(args.out / "scan_cnn.npz", arrays, manifest)


if __name__ == "__main__":
    main()
