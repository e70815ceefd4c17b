import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.cli.places import check_output, check_sites, check_work_dir
from mrspec_prep.cli.run import run


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / "bids" / "sub-01").mkdir(parents=True)
    return tmp_path / "bids"


def test_results_are_never_written_into_raw_data(dataset, tmp_path):
    (tmp_path / "link").symlink_to(dataset)
    for place in (dataset, tmp_path / "link", dataset / "sub-01" / "out", dataset / "sourcedata" / "out"):
        with pytest.raises(InputError, match="Remedy: write to a folder of its own"):
            check_output(dataset, place)
    check_output(dataset, dataset / "derivatives" / "mrspec_prep")
    check_output(dataset, tmp_path / "out")


def test_a_refused_output_folder_gets_not_even_a_log(dataset, capsys):
    before = sorted(dataset.rglob("*"))
    assert run([str(dataset), str(dataset), "participant"]) == 2
    assert "OUT_DIR is the BIDS dataset itself" in capsys.readouterr().err
    assert sorted(dataset.rglob("*")) == before


def test_a_work_directory_around_data_or_results_is_refused(dataset, tmp_path):
    out = tmp_path / "results" / "out"
    for work, holds in ((tmp_path, "OUT_DIR"), (out, "OUT_DIR"), (dataset, "the BIDS dataset")):
        with pytest.raises(InputError, match=f"holds {holds}"):
            check_work_dir(work, dataset, out)
    with pytest.raises(InputError, match="holds an input"):
        check_work_dir(tmp_path / "masks", dataset, out, [tmp_path / "masks" / "dwi"])
    with pytest.raises(InputError, match="inside the BIDS dataset"):
        check_work_dir(dataset / "work", dataset, out)


def test_a_work_directory_among_the_results_is_said(dataset, tmp_path):
    out = tmp_path / "out"
    assert "inside OUT_DIR" in check_work_dir(out / "work", dataset, out)
    assert check_work_dir(out / ".work", dataset, out) is None
    assert check_work_dir(tmp_path / "work", dataset, out) is None


def test_nothing_is_written_into_the_results_of_another_site(tmp_path):
    north, out, work = tmp_path / "north", tmp_path / "out", tmp_path / "work"
    check_sites([north, out], out, work)
    check_sites([out], out, out / ".work")
    with pytest.raises(InputError, match="OUT_DIR lies inside the results of another site"):
        check_sites([north], north / "derivatives", work)
    with pytest.raises(InputError, match="the work directory lies inside the results of another site"):
        check_sites([north, out], out, north / "work")
