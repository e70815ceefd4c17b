"""The image's entrypoint with a stand-in for the program; the image itself is built and tried by release.yml."""

import os
import subprocess
from pathlib import Path

import pytest

from mrspec_prep.cli.parser import build_parser
from mrspec_prep.cli.settings import run_settings

ROOT = Path(__file__).parents[1]
TOLD = 'printf "%s\\n" "$NUMBA_CACHE_DIR" "$MPLCONFIGDIR" "$PWD" "$@"'


@pytest.fixture
def enter(tmp_path, monkeypatch):
    """Call of the entrypoint in an image below ``tmp_path``: cache folders, current folder and words of the program."""
    image = tmp_path / "image"
    for name in ("numba", "matplotlib"):
        (image / name).mkdir(parents=True)
        (image / name / "file").write_text(name)
    (image / "version").write_text("17\n")
    (image / "processor.sh").touch()
    (tmp_path / "mrspec_prep").write_text(f"#!/bin/sh\n{TOLD}\n")
    (tmp_path / "mrspec_prep").chmod(0o755)
    text = (ROOT / "docker" / "entrypoint.sh").read_text().replace("/opt/mrspec_prep", str(image))
    (tmp_path / "tmp").mkdir()
    for name, value in {"NUMBA_CACHE_DIR": tmp_path / "tmp/numba", "MPLCONFIGDIR": tmp_path / "tmp/fonts"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def call(*words):
        done = subprocess.run(["sh", "-c", text, "entrypoint", *words], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0 and not done.stderr
        loops, fonts, folder, *words = done.stdout.splitlines()
        return Path(loops), Path(fonts), Path(folder), words

    return call


def test_a_run_has_the_image_s_compiled_loops_where_this_user_and_version_may_write(enter, tmp_path):
    loops, fonts, folder, words = enter("/data", "/out", "participant")
    assert loops.name == f"numba-17-{os.getuid()}" and (loops / "file").read_text() == "numba"
    assert fonts.name == f"fonts-17-{os.getuid()}" and (fonts / "file").read_text() == "matplotlib"
    assert folder == tmp_path and words == ["/data", "/out", "participant"]
    (loops / "file").write_text("compiled here")
    assert enter("/data", "/out", "participant")[0] == loops
    assert (loops / "file").read_text() == "compiled here"  # kept, and nothing half copied beside it
    assert sorted((tmp_path / "tmp").iterdir()) == sorted([loops, fonts])


def test_words_about_the_program_copy_nothing(enter, tmp_path):
    assert enter("--version")[-1] == ["--version"]
    assert not list((tmp_path / "tmp").iterdir())


def test_without_a_place_to_write_the_program_runs(enter, monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "absent/numba"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "absent/fonts"))
    loops, fonts, *_ = enter("/data")
    assert loops == tmp_path / "image/numba" and fonts == tmp_path / "image/matplotlib"
    assert not (tmp_path / "absent").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_compiled_loops_that_another_user_laid_in_the_way_are_not_run(enter, tmp_path):
    planted = tmp_path / "tmp" / f"numba-17-{os.getuid()}"
    planted.mkdir()
    (planted / "file").write_text("planted")
    os.chown(planted, 1234, 1234)
    loops = enter("/data")[0]
    assert loops != planted and loops.stat().st_uid == os.getuid()
    assert (loops / "file").read_text() == "numba"


def test_the_build_analyses_examples_with_options_that_the_program_knows(tmp_path, monkeypatch):
    said = tmp_path / "words.txt"
    (tmp_path / "mrspec_prep").write_text(f'#!/bin/sh\nprintf "%s\\t" "$@" >> {said}; echo >> {said}\n')
    (tmp_path / "mrspec_prep").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    text = (ROOT / "docker" / "warm_up.sh").read_text().replace("/opt/mrspec_prep", str(ROOT / "docker"))
    subprocess.run(["sh", "-c", text, "warm_up.sh", ROOT / "bids_examples"], check=True)
    runs = [line.split("\t")[:-1] for line in said.read_text().splitlines()]
    levels = set()
    for words in runs:
        args = build_parser().parse_args(words)
        assert args.bids_dir.is_dir() and run_settings(args).overrides
        assert all(Path(path).is_dir() for path in run_settings(args).derivatives.values())
        levels |= set(args.analysis_level)
    assert levels == {"participant", "group"}
