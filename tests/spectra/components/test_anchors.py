import numpy as np

from mrspec_prep.spectra.components.anchors import anchor_signals


def mixtures(n_voxels=500, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 1, (3, 20))
    weights = rng.dirichlet(np.ones(3), n_voxels)
    weights[:3] = np.eye(3)
    return corners, weights, weights @ corners + noise * rng.standard_normal((n_voxels, 20))


def test_pure_voxels_are_found_without_noise():
    corners, _, signals = mixtures()
    anchors, voxels = anchor_signals(signals, np.ones(len(signals)), 3, n_nearest=1)
    assert sorted(voxels) == [0, 1, 2]
    np.testing.assert_allclose(anchors, corners[voxels], atol=1e-12)


def test_anchors_are_near_the_corners_with_noise():
    corners, weights, signals = mixtures(noise=0.02)
    anchors, voxels = anchor_signals(signals, np.ones(len(signals)), 3)
    assert sorted(weights[voxels].argmax(axis=1)) == [0, 1, 2]
    nearest = np.linalg.norm(anchors[:, None] - corners[None], axis=2).min(axis=1)
    sides = np.linalg.norm(corners[:, None] - corners[None], axis=2)
    assert nearest.max() < 0.2 * sides[sides > 0].min()


def test_candidates_limit_the_choice():
    _, _, signals = mixtures()
    _, voxels = anchor_signals(signals, np.ones(len(signals)), 3, candidates=np.arange(100, 300))
    assert ((voxels >= 100) & (voxels < 300)).all()


def test_equal_voxels_give_finite_anchors():
    anchors, _ = anchor_signals(np.ones((10, 4)), np.ones(10), 3)
    np.testing.assert_allclose(anchors, 1)
