"""The classifier of compartments on protocols it never saw: accuracy, calibration, speed.

``python -m benchmarks.any_protocol [--dedicated STEPS] [--signals N]`` prints one row per protocol, all on the same
fresh signals, noise 1 to 5 % of the signal's RMS:

- four-class accuracy of the shipped network where it estimates the noise (``4-class``), where sigma is given
  (``sigma``), and of a dedicated network (``dedic.``: the shipped one trained on for this protocol, STEPS steps of
  2,048 fresh signals; T1-T2 only); accuracy of one against several;
- expected calibration error (15 bins) over all signals (``ECE``), in the worst fifth of the noise levels that the
  signals tell (``worst``), there among signals on which it does not abstain (``decided``), and in the worst fifth of
  the true levels (``true``), which it cannot know where few volumes are left over: what is calibrated need not be so
  given what is hidden;
- the same with sigma given, over all (``ECE-s``) and in the worst fifth of the true levels (``worst-s``);
- the part on which it abstains; signals per second on one core (process time, without reading the weights).

``--magnitudes`` prints instead what is left of accuracy and calibration where the phase is lost (Rician magnitudes,
signs of inversion recovery restored).
"""

import argparse
import time

import numpy as np

from mrspec_prep.networks import CompartmentClassifier
from mrspec_prep.networks.compartments.own_training import train_for
from mrspec_prep.networks.compartments.paper_protocol import paper_protocol
from mrspec_prep.networks.compartments.random_protocols import random_protocol
from mrspec_prep.networks.compartments.recipe import Recipe
from mrspec_prep.networks.compartments.scores import calibration_error
from mrspec_prep.networks.compartments.simulation import simulate
from mrspec_prep.physics import Encodings, default_grid, kernel_axes, kernel_matrix
from mrspec_prep.spectra import restore_polarity

RECIPE = Recipe(noise_steps=0)  # levels uniform
NOISE_FREE = Recipe(noise_range=(1e-7, 1e-7), noise_steps=1)
SCRATCH_STEPS = 2500


def product(inversion, echo, **more):
    """Every inversion time with every echo time [ms]."""
    pairs = np.stack(np.meshgrid(inversion, echo, indexing="ij"), axis=-1).reshape(-1, 2)
    return Encodings(inversion_time=pairs[:, 0], echo_time=pairs[:, 1], **more)


def unseen_protocols():
    """{name: Encodings}: ten of T1-T2, then of T2 and T1."""
    rng = np.random.default_rng(2024)
    log, steps = np.geomspace, np.arange
    listed = Encodings(inversion_time=log(30, 4000, 40), echo_time=rng.permutation(log(5, 250, 40)))
    return {
        "t1-t2 paper, 8 TI x 8 TE": paper_protocol(),
        "t1-t2 8 x 8, wider": product(log(50, 5000, 8), log(10, 500, 8)),
        "t1-t2 5 TI x 6 TE": product([50, 150, 400, 1000, 2500], [10, 25, 45, 70, 100, 150]),
        "t1-t2 6 TI x 32 echoes of 10 ms": product(log(40, 3500, 6), 10.0 * steps(1, 33)),
        "t1-t2 16 x 16": product(log(20, 6000, 16), log(4, 400, 16)),
        "t1-t2 list of 40 pairs": listed,
        "t1-t2 saturation, 8 x 8": product(log(60, 5000, 8), log(8, 200, 8), inversion_efficiency=0.0),
        "t1-t2 TR 4 s, e .95, 6 x 10": product(
            log(50, 3000, 6), 12.0 * steps(1, 11), repetition_time=4000.0, inversion_efficiency=0.95
        ),
        "t1-t2 10 TI x 5 TE, linear": product(np.linspace(100, 3000, 10), np.linspace(9, 120, 5)),
        "t1-t2 random, new seed": random_protocol("t1-t2", rng),
        "t2 32 echoes of 10 ms": Encodings(echo_time=10.0 * steps(1, 33)),
        "t2 30 echoes of 12.8 ms": Encodings(echo_time=12.8 * steps(1, 31)),
        "t2 8 echoes, 5 to 200 ms": Encodings(echo_time=log(5, 200, 8)),
        "t1 12 TI": Encodings(inversion_time=log(40, 4000, 12)),
        "t1 8 TI, TR 5 s": Encodings(inversion_time=log(50, 3000, 8), repetition_time=5000.0),
    }


def worst_level(probabilities, truth, group, kept=None):
    """Largest calibration error of a group of kept signals; groups with fewer than 2,000 are left out."""
    kept = np.ones(len(truth), bool) if kept is None else kept
    rows = [kept & (group == value) for value in np.unique(group)]
    return max(calibration_error(probabilities[r], truth[r]) for r in rows if r.sum() >= 2000)


def fifths(level):
    """(n,) 0 to 4: which fifth of the levels each is in."""
    return np.searchsorted(np.quantile(level, [0.2, 0.4, 0.6, 0.8]), level)


def accuracy(probabilities, drawn):
    """Part of the signals whose likeliest class is the truth."""
    return np.mean(probabilities.argmax(axis=1) + 1 == drawn.n_compartments)


def dedicated(classifier, drawn, n_steps, from_shipped=True):
    """Accuracy of a network trained for the protocol."""
    start = (classifier.weights, classifier.manifest) if from_shipped else None
    arrays, manifest = train_for(classifier.protocol, RECIPE, n_steps, start=start)
    own = CompartmentClassifier(classifier.protocol, classifier.mapping, arrays, manifest, "benchmark")
    return accuracy(own.predict_proba(drawn.signals), drawn)


def row(name, protocol, args):
    """Figures of one protocol, in order of the columns."""
    classifier = CompartmentClassifier.for_protocol(protocol)
    n_signals = int(args.signals * max(1, 64 / len(protocol)))  # few volumes: few decisions, so more signals
    drawn = simulate(RECIPE, protocol, n_signals, np.random.default_rng(77))
    classifier.predict_proba(drawn.signals[:100])
    start = time.process_time()
    estimated = classifier.predict_proba(drawn.signals)
    rate = n_signals / (time.process_time() - start)
    found = classifier.classify(drawn.signals)
    given = classifier.predict_proba(drawn.signals, drawn.noise_std)
    figures = [accuracy(estimated, drawn), accuracy(given, drawn)]
    figures += [dedicated(classifier, drawn, args.dedicated) if args.dedicated and name.startswith("t1-t2") else np.nan]
    single = drawn.n_compartments == 1
    figures += [np.mean((estimated[:, 0] > 0.5) == single)]
    truth, seen = drawn.n_compartments, np.clip(found.noise_level, *RECIPE.noise_range)
    fifth, true = fifths(seen), fifths(drawn.noise_level)
    figures += [calibration_error(estimated, truth), worst_level(estimated, truth, fifth)]
    figures += [
        worst_level(estimated, truth, fifth, ~found.abstained),
        worst_level(estimated, truth, true),
    ]
    figures += [calibration_error(given, truth), worst_level(given, truth, true)]
    figures += [found.abstained.mean(), rate]
    return figures


COLUMNS = [
    "4-class",
    "sigma",
    "dedic.",
    "several",
    "ECE",
    "worst",
    "decided",
    "true",
    "ECE-s",
    "worst-s",
    "abst.",
    "per-s",
]


def magnitude_table(n_signals, n_inverted=2000):
    """Accuracy and calibration on signed signals and on their magnitudes (Rician), sigma given."""
    print("magnitudes, sigma given: accuracy and ECE of signed signals; magnitudes taken as they are; phase drawn")
    every = unseen_protocols()
    for name in ("t2 32 echoes of 10 ms", "t2 8 echoes, 5 to 200 ms", "t1 12 TI", "t1-t2 paper, 8 TI x 8 TE"):
        protocol, rng = every[name], np.random.default_rng(3)
        classifier, inverted = CompartmentClassifier.for_protocol(protocol), not name.startswith("t2")
        pure = simulate(NOISE_FREE, protocol, n_inverted if inverted else n_signals, rng)
        sigma = rng.uniform(*RECIPE.noise_range, len(pure.signals)) / np.sqrt(len(protocol))
        real = pure.signals + sigma[:, None] * rng.standard_normal(pure.signals.shape)
        lost = np.hypot(real, sigma[:, None] * rng.standard_normal(real.shape))
        if inverted:
            kernel = "t1" if name.startswith("t1 ") else "t1-t2"
            matrix = kernel_matrix(kernel, protocol, default_grid(kernel_axes(kernel), protocol))
            lost, _ = restore_polarity(lost, matrix, protocol)
        answers = [classifier.predict_proba(values, sigma) for values in (real, lost)]
        answers.append(classifier.predict_proba(lost, sigma, magnitudes=True))
        figures = [f"{accuracy(p, pure):.4f} {calibration_error(p, pure.n_compartments):.4f}" for p in answers]
        print(f"{name:34} {len(lost):7d}   " + "   ".join(figures), flush=True)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dedicated", type=int, default=0, help="steps of the dedicated networks; 0: none")
    parser.add_argument("--signals", type=int, default=100000, help="per protocol, more where it has under 64 volumes")
    parser.add_argument("--kinds", nargs="+", default=["t1-t2", "t2", "t1"], help="kinds of protocol to print")
    parser.add_argument("--named", nargs="+", default=[""], help="protocols with one of these words in their names")
    parser.add_argument("--scratch", action="store_true", help="one dedicated network from scratch too")
    parser.add_argument("--magnitudes", action="store_true", help="the table of magnitudes alone")
    args = parser.parse_args()
    if args.magnitudes:
        magnitude_table(args.signals // 10)
        return
    print(f"{'protocol':34} {'n':>4} " + " ".join(f"{name:>8}" for name in COLUMNS))
    gaps = []
    for name, protocol in unseen_protocols().items():
        if name.split()[0] not in args.kinds or not any(word in name for word in args.named):
            continue
        figures = row(name, protocol, args)
        *parts, rate = figures
        print(
            f"{name:34} {len(protocol):4d} " + " ".join(f"{value:8.4f}" for value in parts) + f" {rate:8.0f}",
            flush=True,
        )
        if name.startswith("t1-t2"):
            gaps.append(100 * (figures[2] - figures[0]))
    if args.dedicated:
        print(
            f"points behind the dedicated network on {len(gaps)} T1-T2 protocols: "
            + ", ".join(f"{g:.2f}" for g in gaps)
        )
    if args.scratch:
        classifier = CompartmentClassifier.for_protocol(paper_protocol())
        drawn = simulate(RECIPE, paper_protocol(), args.signals, np.random.default_rng(77))
        scratch = dedicated(classifier, drawn, SCRATCH_STEPS, from_shipped=False)
        print(f"paper's protocol, dedicated from scratch, {SCRATCH_STEPS} steps: {scratch:.4f}")


if __name__ == "__main__":
    main()
