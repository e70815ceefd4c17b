"""The paper's network and recipe as published, ours, and what training makes of both."""

import numpy as np
import pytest
import torch

from mrspec_prep.networks.compartments.dedicated_network import dedicated_network, features
from mrspec_prep.networks.compartments.paper_cnn import PaperCNN, plane_order
from mrspec_prep.networks.compartments.paper_protocol import ECHO_TIMES, paper_protocol
from mrspec_prep.networks.compartments.recipe import Recipe
from mrspec_prep.networks.compartments.scores import area_under_roc, calibration_error, scores
from mrspec_prep.networks.compartments.simulation import simulate
from mrspec_prep.networks.compartments.training import PUBLISHED, Training, one_cycle, predict, train
from mrspec_prep.physics import Encodings

PROTOCOL, RECIPE = paper_protocol(), Recipe()


def test_paper_network_has_its_weights_and_sees_the_plane():
    shuffled = PROTOCOL.take(np.random.default_rng(0).permutation(64))
    order = plane_order(shuffled)
    np.testing.assert_array_equal(shuffled.echo_time[order].reshape(8, 8), np.tile(ECHO_TIMES, (8, 1)))
    network = PaperCNN(order)
    assert sum(p.numel() for p in network.parameters()) == 4208
    torch.manual_seed(0)
    plain, moved = PaperCNN(plane_order(PROTOCOL)).eval(), PaperCNN(order).eval()
    moved.layers.load_state_dict(plain.layers.state_dict())
    signals = torch.randn(3, 64)
    where = [int(np.flatnonzero((PROTOCOL.echo_time == e) & (PROTOCOL.inversion_time == i))[0])
             for e, i in zip(shuffled.echo_time, shuffled.inversion_time, strict=True)]  # fmt: skip
    torch.testing.assert_close(moved(signals[:, where]), plain(signals))


def test_other_protocols_are_refused_by_the_paper_network():
    with pytest.raises(ValueError, match="8 inversion times"):
        plane_order(PROTOCOL.take(slice(63)))
    with pytest.raises(ValueError, match="inversion and echo"):
        plane_order(Encodings(echo_time=ECHO_TIMES))


def test_softmax_twice_cannot_reach_a_small_loss():
    """Cross-entropy of probabilities taken as logits: at least log(1 + 3/e), however right the network is."""
    certain = torch.tensor([[1.0, 0, 0, 0]])
    least = torch.nn.functional.cross_entropy(certain, torch.tensor([0]))
    assert float(least) == pytest.approx(np.log(1 + 3 / np.e))
    published = PaperCNN(plane_order(PROTOCOL), as_published=True).eval()
    torch.testing.assert_close(published(torch.randn(5, 64)).sum(dim=1), torch.ones(5))
    assert (PUBLISHED.optimiser, PUBLISHED.rate, PUBLISHED.batch) == ("sgd", 1.0, 10_000)


def test_features_tell_the_noise():
    network = dedicated_network(RECIPE, PROTOCOL, np.random.default_rng(0), 16, 1)
    drawn = simulate(RECIPE, PROTOCOL, 4000, np.random.default_rng(1))
    found = features(torch.as_tensor(drawn.signals), network.basis)[:, -1].exp().numpy()
    assert np.median(np.abs(found / drawn.noise_std - 1)) < 0.08
    assert 8 <= network.basis.shape[1] <= 25


@pytest.mark.long
def test_ours_learns_within_seconds_and_seeds_repeat():
    training = Training(n_steps=250, batch=512)
    drawn = simulate(RECIPE, PROTOCOL, 4000, np.random.default_rng(9))
    probs = []
    for _ in range(2):
        torch.manual_seed(0)
        network = dedicated_network(RECIPE, PROTOCOL, np.random.default_rng(0), 64, 2)
        history = train(network, RECIPE, PROTOCOL, training, np.random.default_rng(1))
        probs.append(predict(network, drawn.signals))
    np.testing.assert_array_equal(*probs)
    found = scores(probs[0], drawn.n_compartments)
    assert found.four_class > 0.42
    assert found.binary > 0.79
    assert found.ece < 0.06
    assert history.loss[-1] < history.loss[0]
    assert history.n_signals == 250 * 512


def test_fixed_set_is_seen_again_and_the_rate_follows_its_law():
    network = PaperCNN(plane_order(PROTOCOL), as_published=True)
    training = Training(n_steps=6, batch=100, rate=1.0, optimiser="sgd", n_signals=300)
    assert len(train(network, RECIPE, PROTOCOL, training, np.random.default_rng(0)).loss) == 6
    assert one_cycle(0.1) == pytest.approx(1)
    assert one_cycle(1.0) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="optimiser"):
        Training(n_steps=1, optimiser="adam")


def test_scores_of_known_cases():
    probs = np.array([[0.9, 0.1, 0, 0], [0.6, 0.4, 0, 0], [0.2, 0.5, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7]])
    found = scores(probs, np.array([1, 2, 2, 4]))
    assert found.four_class == 0.75
    assert found.binary == 0.75
    assert found.auc == 1.0
    np.testing.assert_allclose(found.confusion[1], [0.5, 0.5, 0, 0])
    assert calibration_error(np.tile([0.75, 0.25], (4, 1)), np.array([1, 1, 1, 2])) == pytest.approx(0)
    assert area_under_roc(np.array([0.5, 0.5, 0.5]), np.array([True, False, False])) == 0.5
