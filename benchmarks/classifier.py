"""How many compartments: the paper's network as published and fairly trained, ours, the shipped one, what is possible.

    python -m benchmarks.classifier                 all parts
    python -m benchmarks.classifier --parts noise --noises rms m0 --seconds 60

Parts: ``networks`` trains every network for the same process time on the same law (% of RMS), several seeds, each
printed; ``noise`` sets four-class, binary, AUC and ECE beside the Bayes reference for every definition of the noise;
``published`` tries what else the paper leaves open and prints the confusion matrices beside the published one;
``pooling`` averages neighbours in an image with borders. Protocol: the 8 x 8 of the paper, very likely.

The Bayes reference: what is possible is bracketed on the signals that the sampler was run on (``least``, of the choice
that sampler and last network make together, and ``most`` of ``Possible``); a gap is the expected loss of a network
against ``least`` on the same signals, with its standard error; the likely gap is that against what runs of the sampler
without error would say (``likely_gap``). Signals are drawn more often where the last network hesitates, and weighted
back: elsewhere it loses nothing. ``gap``: the shipped weights alone.
"""

import argparse
import time

import numpy as np
import torch

from mrspec_prep.networks import CompartmentClassifier
from mrspec_prep.networks.compartments.bayes_reference import ClassPosterior, class_posterior, compare
from mrspec_prep.networks.compartments.dedicated_network import dedicated_network
from mrspec_prep.networks.compartments.paper_cnn import PaperCNN, plane_order
from mrspec_prep.networks.compartments.paper_protocol import paper_protocol
from mrspec_prep.networks.compartments.pooling import pool_signals
from mrspec_prep.networks.compartments.recipe import FRACTIONS, NOISES, Recipe
from mrspec_prep.networks.compartments.scores import scores
from mrspec_prep.networks.compartments.simulation import draw_fractions, signal_tables, simulate
from mrspec_prep.networks.compartments.training import FAIR, OURS, PUBLISHED, predict, train, within
from mrspec_prep.physics import Encodings

PROTOCOL = paper_protocol()
NOISE_FREE = Recipe(noise_range=(1e-9, 1e-9), noise_steps=1)
PARTS = ("networks", "gap", "noise", "published", "pooling")
TEST_SEED = 20_240
#: distances of the two largest probabilities of a network where strata begin, and how far its expected loss against the
#: Bayes reference varies in each, roughly: signals for the sampler are drawn by it
MARGINS = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.65])
SPREADS = np.array([0.13, 0.13, 0.12, 0.1, 0.06, 0.04, 0.02])
#: counts of Figure 2b of the paper (rows: truth, 100,000 test signals)
PUBLISHED_CONFUSION = np.array(
    [[22061, 2939, 0, 0], [2583, 15945, 4540, 1932], [339, 8285, 6389, 9987], [57, 3343, 4781, 16819]]
)
FAIR_CNN = "paper's network, fair"
MAKERS = {  # name: network of a recipe, training
    "paper's recipe": (lambda r, p: PaperCNN(plane_order(p), r.n_classes, as_published=True), PUBLISHED),
    FAIR_CNN: (lambda r, p: PaperCNN(plane_order(p), r.n_classes), FAIR),
    "ours": (lambda r, p: dedicated_network(r, p, np.random.default_rng(0)), OURS),
}


def trained(name, recipe, protocol, seconds, seed):
    """(network, history) of one network trained within a budget of process time."""
    make, training = MAKERS[name]
    torch.manual_seed(seed)
    training = within(seconds, lambda: make(recipe, protocol), recipe, protocol, training, np.random.default_rng(seed))
    torch.manual_seed(seed)
    network = make(recipe, protocol)
    return network, train(network, recipe, protocol, training, np.random.default_rng([seed, 1]))


def test_signals(recipe, protocol, n):
    """Signals that no training draws."""
    return simulate(recipe, protocol, n, np.random.default_rng(TEST_SEED))


def row(found):
    """Figures of one classifier as text."""
    return f"{found.four_class:.4f}  {found.binary:.4f}  {found.auc:.4f}  {found.ece:.4f}"


def cost(history):
    """What a training took, as text."""
    return f"{history.cpu_seconds:.0f} s, {history.n_signals / 1e6:.2f} M signals"


def networks(args):
    """Every network, every seed, equal budget; the mean advantage of ours."""
    recipe = Recipe()
    drawn = test_signals(recipe, PROTOCOL, args.test)
    print(f"\n## networks, noise in % of RMS, {args.seconds:g} s of one core each, {args.test} test signals")
    print("network                seed  four-class  binary  AUC  ECE")
    found = {}
    for seed in range(args.seeds):
        for name in args.names:
            network, history = trained(name, recipe, PROTOCOL, args.seconds, seed)
            score = scores(predict(network, drawn.signals), drawn.n_compartments)
            found.setdefault(name, []).append(score.four_class)
            print(f"{name:22} {seed}  {row(score)}  ({cost(history)})", flush=True)
    print("four-class, mean of seeds: " + ", ".join(f"{name} {np.mean(v):.4f}" for name, v in found.items()))
    if {"ours", FAIR_CNN} <= set(found):
        gain = np.subtract(found["ours"], found[FAIR_CNN])
        print(f"ours minus {FAIR_CNN}: {gain.mean():.4f} (worst seed {gain.min():.4f})")
    shipped = CompartmentClassifier.for_protocol(PROTOCOL)
    print(f"{'shipped weights':22} -  {row(scores(shipped.predict_proba(drawn.signals), drawn.n_compartments))}")


def strata(probs):
    """(n,) which of ``MARGINS`` the distance of the two largest probabilities lies in."""
    largest = np.sort(probs, axis=1)
    return np.searchsorted(MARGINS, largest[:, -1] - largest[:, -2], side="right") - 1


def drawn_by_margin(stratum, n, rng):
    """Signals for the sampler and their weights, which sum to 1.

    A signal counts by the inverse of the probability that its stratum was drawn with; every stratum has two signals.
    """
    shares = np.bincount(stratum, minlength=len(MARGINS)) / len(stratum)
    wanted = shares * SPREADS
    counts = np.minimum(np.maximum(2, np.round(n * wanted / wanted.sum())), shares * len(stratum)).astype(int)
    rows = [rng.choice(np.flatnonzero(stratum == s), k, replace=False) for s, k in enumerate(counts)]
    weights = [np.full(k, share / max(k, 1)) for k, share in zip(counts, shares, strict=True)]
    return np.concatenate(rows), np.concatenate(weights)


def reference(recipe, protocol, n, args, label="", probabilities=None):
    """Print the gaps of several classifiers to the Bayes reference, the last of them the one to draw signals by."""
    drawn = simulate(recipe, protocol, args.test, np.random.default_rng([TEST_SEED, 1]))
    every = {name: predicted(drawn.signals) for name, predicted in probabilities.items()}
    best = list(every.values())[-1]
    stratum = strata(best)
    rows, weights = drawn_by_margin(stratum, n, np.random.default_rng([TEST_SEED, 3]))
    start = time.process_time()
    sampler = args.population, args.moves, args.repeats
    posterior = class_posterior(drawn.signals[rows], recipe, protocol, *sampler)
    taken = (time.process_time() - start) / len(rows)
    errors = ", ".join(f"{value:.2f}" for value in posterior.evidence_std)
    print(
        f"{label}Bayes reference on {len(rows)} signals: spread of log evidence of one run {errors}; "
        f"{taken:.2f} s per signal"
    )
    one = posterior.probs[:, 0]
    for name, probs in every.items():
        chosen, parts = probs[rows], []
        for title, choices in (("four-class", chosen.argmax(axis=1) + 1), ("binary", 2 - (chosen[:, 0] > 0.5))):
            given = posterior, choices, stratum[rows], weights, title == "binary"
            found, (likely, error) = compared(*given, best[rows]), likely_gap(*given)
            parts.append(
                f"{title} {found['given']:.4f}, possible {found['least']:.4f} to {found['most']:.4f}, "
                f"gap {found['gap']:+.4f} +- {found['gap_error']:.4f}, likely {likely:+.4f} +- {error:.4f}"
            )
        areas = expected_auc(chosen[:, 0], one, weights), expected_auc(one, one, weights)
        parts.append("AUC {:.4f}, possible {:.4f}".format(*areas))
        print(f"  {name:22} " + "; ".join(parts), flush=True)


def compared(posterior, choices, stratum, weights, binary, beside):
    """Fields of ``Possible``, over strata of signals drawn with weights of their own."""
    sums = dict.fromkeys(("given", "least", "most", "gap", "gap_error"), 0.0)
    for s in np.unique(stratum):
        rows = stratum == s
        part = ClassPosterior(posterior.probs[rows], posterior.log_evidence[:, rows])
        found, weight = compare(part, choices[rows], binary, beside[rows]), weights[rows].sum()
        for name in sums:
            value = getattr(found, name)
            sums[name] += (weight * value) ** 2 if name == "gap_error" else weight * value
    return sums | {"gap_error": np.sqrt(sums["gap_error"])}


def likely_gap(posterior, choices, stratum, weights, binary):
    """Expected loss of choices against the best ones, (gap, standard error), freed of most of the sampler's error.

    Errors of the evidence raise the largest probability, by their variance, which falls as one over the number of runs:
    the loss against all runs together is drawn on along the line from that against single runs.
    """
    chosen, rows = np.asarray(choices) - 1, np.arange(len(choices))
    losses = []
    for probs in (posterior.probs[None], posterior.repeat_probs):
        pair = np.stack([probs[..., 0], 1 - probs[..., 0]], axis=-1) if binary else probs
        taken = np.minimum(chosen, 1) if binary else chosen
        losses.append((pair.max(axis=-1) - pair[:, rows, taken]).mean(axis=0))
    together, single = losses
    loss = together - (single - together) / (len(posterior.log_evidence) - 1)
    variance = 0.0
    for s in np.unique(stratum):
        part = loss[stratum == s]
        variance += weights[stratum == s].sum() ** 2 * np.var(part, ddof=1) / len(part)
    return float(weights @ loss), float(np.sqrt(variance))


def expected_auc(score, one, weights):
    """Area under the ROC curve expected when each signal has one compartment with probability ``one``."""
    parts = np.concatenate([one, 1 - one]) * np.tile(weights, 2)
    order = np.argsort(np.tile(score, 2), kind="stable")
    positive = np.concatenate([parts[: len(one)], np.zeros_like(one)])[order]
    negative = parts[order] - positive
    return float(np.sum(positive * (np.cumsum(negative) - 0.5 * negative)) / positive.sum() / negative.sum())


def noise(args):
    """Table over the definitions of the noise."""
    for name in args.noises:
        recipe = Recipe(noise=name)
        drawn = test_signals(recipe, PROTOCOL, args.test)
        print(f"\n## noise: 1 to 5 % of {name} ({NOISES[name]})")
        print("network                four-class  binary  AUC  ECE")
        predictors = {}
        for label in args.names:
            network, history = trained(label, recipe, PROTOCOL, args.seconds, 0)
            predictors[label] = lambda signals, network=network: predict(network, signals)
            found = scores(predictors[label](drawn.signals), drawn.n_compartments)
            print(f"{label:22} {row(found)}  ({cost(history)})", flush=True)
        predictors.pop("paper's recipe", None)
        if args.long and name == "rms":
            network, history = trained("ours", recipe, PROTOCOL, args.long, 0)
            predictors["ours, long"] = lambda signals, network=network: predict(network, signals)
            found = scores(predictors["ours, long"](drawn.signals), drawn.n_compartments)
            print(f"{'ours, long':22} {row(found)}  ({cost(history)})")
        if name == "rms":
            predictors["shipped weights"] = CompartmentClassifier.for_protocol(PROTOCOL).predict_proba
            found = scores(predictors["shipped weights"](drawn.signals), drawn.n_compartments)
            print(f"{'shipped weights':22} {row(found)}")
        for label, predicted in predictors.items():
            print_confusion(label, scores(predicted(drawn.signals), drawn.n_compartments).confusion)
        reference(recipe, PROTOCOL, args.bayes, args, probabilities=predictors)


def gap(args):
    """Shipped weights against the Bayes reference."""
    predicted, recipe = CompartmentClassifier.for_protocol(PROTOCOL).predict_proba, Recipe()
    drawn = test_signals(recipe, PROTOCOL, args.test)
    print("\n## gap: shipped weights, noise 1 to 5 % of rms; four-class, binary, AUC, ECE")
    print(row(scores(predicted(drawn.signals), drawn.n_compartments)))
    reference(recipe, PROTOCOL, args.bayes, args, probabilities={"shipped weights": predicted})


def print_confusion(label, confusion):
    """Rows of a confusion matrix in per cent."""
    print(
        f"  confusion of {label} [% of the true class]: "
        + " | ".join(" ".join(f"{100 * v:.1f}" for v in r) for r in confusion)
    )


def wide_protocol():
    """8 inversion times of 50 to 5000 ms by 8 echo times of 10 to 500 ms, logarithmic."""
    inversion, echo = np.meshgrid(np.geomspace(50, 5000, 8), np.geomspace(10, 500, 8), indexing="ij")
    return Encodings(inversion_time=inversion.ravel(), echo_time=echo.ravel())


def variants():
    """(label, recipe, protocol) of what the paper leaves open."""
    for law in FRACTIONS:
        for name in ("rms", "multiplicative"):
            yield f"% of {name}, fractions {law}", Recipe(noise=name, fractions=law), PROTOCOL
    yield "% of rms, noise continuous", Recipe(noise_steps=0), PROTOCOL
    yield "% of rms, T2 <= T1", Recipe(t2_below_t1=True), PROTOCOL
    yield "% of rms, least noise only (1 %)", Recipe(noise_range=(0.01, 0.01), noise_steps=1), PROTOCOL
    for name in ("rms", "m0", "multiplicative"):
        yield f"% of {name}, wide protocol", Recipe(noise=name), wide_protocol()
    yield "% of m0, wide, normalised", Recipe(noise="m0", fractions="normalised"), wide_protocol()
    yield "% of maximum, wide protocol", Recipe(noise="maximum"), wide_protocol()


def published(args):
    """Print what each reading of the paper gives, beside the published figures."""
    total = PUBLISHED_CONFUSION.sum()
    print("\n## published: four-class .612, binary .941, AUC .98")
    print_confusion("the paper", PUBLISHED_CONFUSION / PUBLISHED_CONFUSION.sum(axis=1, keepdims=True))
    binary = (total - PUBLISHED_CONFUSION[0, 1:].sum() - PUBLISHED_CONFUSION[1:, 0].sum()) / total
    print(f"  recomputed from it: four-class {np.trace(PUBLISHED_CONFUSION) / total:.4f}, binary {binary:.4f}")
    print(f"ours, {args.short:g} s each: four-class, binary, AUC, ECE")
    for label, recipe, protocol in variants():
        drawn = test_signals(recipe, protocol, args.test)
        network, _ = trained("ours", recipe, protocol, args.short, 0)
        found = scores(predict(network, drawn.signals), drawn.n_compartments)
        print(f"{label:34} {row(found)}")
        print_confusion(label, found.confusion)
        if args.bayes_short:
            reference(recipe, protocol, args.bayes_short, args, "  ", {"ours": lambda s, n=network: predict(n, s)})


def border_image(n_side, n_tissues, rng):
    """Label image of blocks: the nearest of random centres."""
    centres = rng.uniform(0, n_side, (n_tissues, 3))
    grid = np.stack(np.meshgrid(*[np.arange(n_side)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    return ((grid - centres) ** 2).sum(axis=2).argmin(axis=1).reshape((n_side,) * 3)


def unrelated_tissue(n, rng):
    """(n, n_encodings) noise-free signals of unit norm and their numbers of compartments, by the paper's law."""
    drawn = simulate(NOISE_FREE, PROTOCOL, n, rng)
    return drawn.signals.astype(float), drawn.n_compartments


def related_tissue(n, rng):
    """The same where all tissues hold the first of the same four compartments, in fractions of their own."""
    tables = signal_tables(PROTOCOL, NOISE_FREE)
    pure = np.prod([table[rng.integers(0, len(table), 4)] for table in tables.values()], axis=0)
    n_compartments = rng.integers(1, 5, n)
    signals = draw_fractions(n_compartments, NOISE_FREE, rng) @ pure
    return signals / np.linalg.norm(signals, axis=1, keepdims=True), n_compartments


def pooling(args):
    """Four-class accuracy with and without neighbours, inside tissue and at borders."""
    classifier, basis = CompartmentClassifier.for_protocol(PROTOCOL), signal_basis(PROTOCOL)
    for title, make in (("unrelated tissues", unrelated_tissue), ("tissues that share compartments", related_tissue)):
        print(f"\n## pooling 3 x 3 x 3 voxels (shipped weights, sigma given), four-class; {title}")
        print("seed  inside: alone, pooled  at borders: alone, pooled")
        rows = []
        for seed in range(args.seeds):
            rng = np.random.default_rng([TEST_SEED, 2, seed])
            counts = np.zeros((2, 3))  # at borders or not: voxels, right alone, right pooled
            for _ in range(12):
                counts += pooled_image(classifier, basis, make, rng)
            rows.append((counts[:, 1:] / counts[:, :1])[::-1].ravel())
            print(f"{seed}     " + "  ".join(f"{value:.4f}" for value in rows[-1]), flush=True)
        mean = np.mean(rows, axis=0)
        worst = np.min(np.diff(rows, axis=1)[:, ::2], axis=0)
        print("mean  " + "  ".join(f"{v:.4f}" for v in mean) + f"; gain inside {mean[1] - mean[0]:+.4f} (worst seed "
              f"{worst[0]:+.4f}), at borders {mean[3] - mean[2]:+.4f} ({worst[1]:+.4f})")  # fmt: skip


def pooled_image(classifier, basis, make, rng, n_side=18, n_tissues=16):
    """(2, 3) counts of one image: at borders and not; voxels, right alone, right pooled."""
    labels = border_image(n_side, n_tissues, rng)
    clean, n_compartments = make(n_tissues, rng)
    sigma = rng.choice(Recipe().noise_levels()) / np.sqrt(len(PROTOCOL))
    signals, truth = clean[labels.ravel()], n_compartments[labels.ravel()]
    signals = signals + sigma * rng.standard_normal(signals.shape)
    alone = classifier.predict_proba(signals, noise_std=np.full(len(signals), sigma)).argmax(axis=1) + 1 == truth
    pooled, std, _ = pool_signals(signals, np.ones(labels.shape, bool), sigma, basis)
    together = classifier.predict_proba(pooled, noise_std=std).argmax(axis=1) + 1 == truth
    border = at_border(labels).ravel()
    return np.array([[chosen.sum(), alone[chosen].sum(), together[chosen].sum()] for chosen in (border, ~border)])


def signal_basis(protocol):
    """Singular vectors that hold the noise-free signals of a protocol."""
    clean = simulate(NOISE_FREE, protocol, 5000, np.random.default_rng(0)).signals
    _, values, vectors = np.linalg.svd(clean, full_matrices=False)
    return vectors[values > 3e-4 * values[0]].T


def at_border(labels):
    """Voxels with another tissue among their 26 neighbours."""
    padded = np.pad(labels, 1, mode="edge")
    n = labels.shape[0]
    near = [padded[x : x + n, y : y + n, z : z + n] for x in range(3) for y in range(3) for z in range(3)]
    return (np.stack(near) != labels).any(axis=0)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--noises", nargs="+", choices=NOISES, default=list(NOISES))
    parser.add_argument("--names", nargs="+", choices=MAKERS, default=list(MAKERS), help="networks to train")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=120, help="process time of a training")
    parser.add_argument("--short", type=float, default=40, help="process time of a training in `published`")
    parser.add_argument("--long", type=float, default=900, help="process time of one long training (% of RMS), 0: none")
    parser.add_argument("--test", type=int, default=100_000, help="test signals")
    parser.add_argument("--bayes", type=int, default=300, help="signals of the Bayes reference")
    parser.add_argument("--bayes-short", type=int, default=100, help="the same in `published`, 0: none")
    parser.add_argument("--population", type=int, default=256)
    parser.add_argument("--moves", type=int, default=192)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for part in args.parts:
        {"networks": networks, "gap": gap, "noise": noise, "published": published, "pooling": pooling}[part](args)


if __name__ == "__main__":
    main()
