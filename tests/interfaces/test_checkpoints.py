import numpy as np
import pytest

from mrspec_prep.interfaces.group.checkpoints import Checkpoints, checkpoint_tag


def states_of(step):
    return [
        {"state/probs": np.full(3, step / 7), "converged": np.array(False), "trace": np.arange(step, dtype=float)},
        {"state/probs": np.zeros((2, 5)), "stage": np.array("starts")},
    ]


def run(checkpoints, steps):
    for step in steps:
        checkpoints(states_of(step))


def test_the_newest_of_every_few_steps_comes_back_bit_for_bit(tmp_path):
    run(Checkpoints(tmp_path / "new", "a", 3), range(1, 9))
    later = Checkpoints(tmp_path / "new", "a", 3)
    found = later.load()
    assert later.n_steps == 6
    for state, expected in zip(found, states_of(6), strict=True):
        assert state.keys() == expected.keys()
        for name, array in expected.items():
            assert state[name].dtype == array.dtype
            assert state[name].tobytes() == array.tobytes()
    run(later, [7])
    assert Checkpoints(tmp_path / "new", "a", 3).load()[0]["trace"].size == 6, "the count of steps goes on"


def test_there_is_none_before_the_first(tmp_path):
    assert Checkpoints(tmp_path / "none", "a", 3).load() is None
    run(Checkpoints(tmp_path, "a", 3), [1, 2])
    assert Checkpoints(tmp_path, "a", 3).load() is None


def test_those_of_another_fit_are_not_read_and_go_with_the_first_of_this_one(tmp_path):
    run(Checkpoints(tmp_path, "old", 1), [1, 2])
    mine = Checkpoints(tmp_path, "new", 1)
    assert mine.load() is None
    run(mine, [1])
    assert [path.name for path in tmp_path.iterdir()] == ["new_00000001.npz"]
    mine.clear()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"", bytes.upper])
def test_a_damaged_one_is_passed_over_for_the_one_before(tmp_path, damage, caplog):
    run(Checkpoints(tmp_path, "a", 1), [1, 2, 3])
    *_, newest = sorted(tmp_path.iterdir())
    newest.write_bytes(damage(newest.read_bytes()))
    found = Checkpoints(tmp_path, "a", 1).load()
    assert found[0]["trace"].size == 2


def test_a_file_that_was_renamed_by_hand_is_not_trusted(tmp_path):
    run(Checkpoints(tmp_path, "a", 1), [1])
    (tmp_path / "a_00000001.npz").rename(tmp_path / "b_00000001.npz")
    assert Checkpoints(tmp_path, "b", 1).load() is None


def test_the_tag_changes_with_every_part():
    parts = {"files": [["a", 3]], "seed": 0, "options": {"alpha": 0.01}, "version": "1"}
    tags = {checkpoint_tag(**parts)} | {checkpoint_tag(**{**parts, key: "other"}) for key in parts}
    assert len(tags) == 5
    assert checkpoint_tag(**dict(reversed(parts.items()))) == checkpoint_tag(**parts)
