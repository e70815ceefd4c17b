import pytest

from mrspec_prep.workflows.group import parts_of


@pytest.mark.parametrize(("n_series", "nprocs", "n_nodes"), [(1, 4, 1), (12, 2, 12), (1000, 16, 143), (5000, 4, 313)])
def test_nodes_map_every_series_once_and_are_few(n_series, nprocs, n_nodes):
    parts = parts_of(n_series, nprocs)
    assert [index for part in parts for index in range(n_series)[part]] == list(range(n_series))
    assert len(parts) == n_nodes
