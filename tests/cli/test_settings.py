from pathlib import Path

import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.cli.parser import build_parser
from mrspec_prep.cli.settings import read_run_file, run_settings
from mrspec_prep.options import load_options


def settings_of(*words):
    return run_settings(build_parser().parse_args(["in", "out", "participant", *words]))


def test_what_the_user_sets_wins_over_sloppy():
    overrides = settings_of("--sloppy", "--set", "inspect.n_clusters=3").overrides
    options = load_options(None, overrides)
    assert options.inspect.n_clusters == 3
    assert options.inspect.n_starts == 4


def test_a_run_file_means_the_same_in_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("[kernel]\nname = 'adc'\n")
    settings = settings_of("--workflow", "mine.toml", "--mask", "m_{subject}.nii.gz", "--noise", "n.nii")
    assert Path(settings.workflow) == tmp_path / "mine.toml"
    options = load_options(None, settings.overrides)
    assert options.mask.source == str(tmp_path / "m_{subject}.nii.gz")
    assert options.noise.method == str(tmp_path / "n.nii")
    words = settings_of("--workflow", "t2_inspect.toml", "--mask", "automatic", "--noise", "0.5")
    options = load_options(None, words.overrides)
    assert (words.workflow, options.mask.source, options.noise.method) == ("t2_inspect", "automatic", 0.5)


def test_a_run_file_gives_back_every_setting(tmp_path):
    (tmp_path / "filter.json").write_text('{"dwi": {"session": null}}')
    said = ["--participant-label", "01", "--session-label", "ses-a", "--random-seed", "0", "--workflow", "t2_inspect"]
    settings = settings_of(*said, "--bids-filter-file", str(tmp_path / "filter.json"), "-d", f"masks={tmp_path}",
                           "--set", "nnls.alpha=0.02", "--sloppy")  # fmt: skip
    run_file = tmp_path / "mrspec_prep.toml"
    run_file.write_text(settings.to_toml())
    assert settings_of("--config-file", str(run_file)) == settings
    later = settings_of("--config-file", str(run_file), "--set", "nnls.alpha=0.5", "--random-seed", "7")
    assert load_options(None, later.overrides).nnls.alpha == 0.5
    assert later.random_seed == 7


def test_another_file_is_no_run_file(tmp_path):
    path = tmp_path / "other.toml"
    path.write_text("[kernel]\n")
    with pytest.raises(InputError, match="no run file"):
        read_run_file(path)


def test_two_folders_of_one_name_are_refused_and_one_given_twice_is_not(tmp_path):
    for name in ("a/north", "b/north"):
        (tmp_path / name).mkdir(parents=True)
    first, second = str(tmp_path / "a/north"), str(tmp_path / "b/north")
    assert settings_of("-d", first, "-d", f"north={first}").derivatives == {"north": first}
    with pytest.raises(InputError, match="two folders of the name north"):
        settings_of("-d", first, second)


@pytest.mark.parametrize("name", ["raw", "main", "BIDS_DIR"])
def test_a_name_that_others_have_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=f"the name {name} is that of .*NAME=PATH"):
        settings_of("-d", f"{name}={tmp_path}")
    run_file = tmp_path / "mrspec_prep.toml"
    run_file.write_text(f'[run]\nderivatives = {{"{name}" = "{tmp_path}"}}\n')
    with pytest.raises(InputError, match=f"the name {name} is that of"):
        settings_of("--config-file", str(run_file))
    assert settings_of("-d", f"{name}+2={tmp_path}").derivatives == {f"{name}+2": str(tmp_path)}


def test_the_output_directory_itself_may_be_called_main(tmp_path):
    words = ["in", str(tmp_path), "group", "-d", f"main={tmp_path}"]
    assert run_settings(build_parser().parse_args(words)).derivatives == {"main": str(tmp_path)}


@pytest.mark.parametrize("name", ["", "a:b", "a b", "../x"])
def test_a_run_file_names_datasets_as_the_command_line_may(tmp_path, name):
    run_file = tmp_path / "mrspec_prep.toml"
    run_file.write_text(f'[run]\nderivatives = {{"{name}" = "{tmp_path}"}}\n')
    with pytest.raises(InputError, match="letters, digits, _ . \\+ - alone"):
        settings_of("--config-file", str(run_file))
