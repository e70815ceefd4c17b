"""The launch files of workflows/hpc, with stand-ins for Slurm and Apptainer; ``make test-slurm`` has a real Slurm."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from mrspec_prep.cli.parser import build_parser
from mrspec_prep.cli.plugin_file import read_plugin
from mrspec_prep.workflows.running.execution import RESILIENT

HPC = Path(__file__).parents[1] / "workflows" / "hpc"
STAND_INS = {
    "sbatch": 'echo "$@" >> "$HERE/sbatch.txt"; echo $(( 10 + $(wc -l < "$HERE/sbatch.txt") ))',
    "squeue": 'cat "$HERE/queued.txt"',
    "scontrol": 'echo "MaxArraySize = 3"',
    "program": 'printf "%s\\n" "$@" > "$HERE/program.txt"; exit "${FAIL:-0}"',
    "apptainer": 'printf "%s\\n" "$@" > "$HERE/apptainer.txt"; exit 7',
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "queued.txt").touch()
    for number in range(1, 6):
        (tmp_path / f"bids/sub-0{number}").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("RUN", "program")
    return tmp_path


def script(name, *words):
    return subprocess.run([HPC / name, *map(str, words)], capture_output=True, text=True)


def submitted(here):
    lines = (here / "sbatch.txt").read_text().splitlines()
    (here / "sbatch.txt").unlink()
    return lines


def finish(out, *labels):
    for label in labels:
        (out / f"sub-{label}/log").mkdir(parents=True)
        (out / f"sub-{label}/log/finished.json").write_text('{\n "key": "abc",\n "files": []\n}\n')
        (out / f"sub-{label}.html").touch()


def test_participants_go_in_arrays_that_slurm_accepts_and_the_group_waits_for_all(here):
    done = script("slurm_array.sh", here / "bids", here / "out", "--set", "inspect.n_clusters=4")
    assert done.returncode == 0, done.stderr
    first, second, third, group = submitted(here)
    assert "--array=1-2%200" in first and "--array=1-2%200" in second and "--array=1-1%200" in third
    assert "--cpus-per-task=4 --mem=8G" in first and first.endswith("--set inspect.n_clusters=4")
    assert "--dependency=afterok:11:12:13 --kill-on-invalid-dep=yes" in group and "--group" in group
    assert "inspect.n_clusters" not in group


def test_only_unfinished_participants_are_submitted_again_unless_the_options_changed(here):
    words = "slurm_array.sh", here / "bids", here / "out"
    script(*words)
    submitted(here)
    finish(here / "out", "01", "02", "04")
    (here / "out/sub-03/log").mkdir(parents=True)  # under way with other settings: the key is withdrawn
    (here / "out/sub-03/log/finished.json").write_text('{\n "key": null,\n "files": []\n}\n')
    done = script(*words)
    assert "3 of 5 participants are finished; 2 to submit" in done.stdout
    array, _ = submitted(here)
    (listed,) = (Path(word) for word in array.split() if word.endswith("_participants.txt"))
    assert listed.read_text().split() == ["03", "05"]
    finish(here / "out", "05")
    done = script(*words, "--set", "inspect.n_clusters=4")
    assert "0 of 5 participants are finished; 5 to submit" in done.stdout


def test_a_finished_study_goes_straight_to_the_group(here):
    words = "slurm_array.sh", here / "bids", here / "out"
    script(*words)
    submitted(here)
    finish(here / "out", "01", "02", "03", "04", "05")
    assert script(*words).returncode == 0
    (group,) = submitted(here)
    assert "--dependency" not in group


def test_a_study_in_the_queue_is_not_submitted_twice(here):
    (here / "queued.txt").write_text("17\n17\n")
    done = script("slurm_array.sh", here / "bids", here / "out")
    assert done.returncode == 2
    assert "in the queue as job 17. Remedy" in done.stderr
    assert not (here / "sbatch.txt").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--participant-label", "01"], "PARTICIPANTS="), (["--subject-label=01"], "PARTICIPANTS=")],
)
def test_participants_are_named_in_one_place(here, words, message):
    done = script("slurm_array.sh", here / "bids", here / "out", *words)
    assert done.returncode == 2 and message in done.stderr


@pytest.mark.parametrize("fails", [0, 1])
def test_a_task_takes_its_line_of_the_list_and_the_job_s_resources(here, monkeypatch, fails):
    (here / "list.txt").write_text("01\n02\n03\n04\n")
    for name, value in {"ARRAY_TASK_ID": 1, "JOB_ID": 12, "CPUS_PER_TASK": 4, "MEM_PER_NODE": 8000}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setenv("FAIL", str(fails))
    work = here / "work"
    done = script("slurm_array.sh", "--participant", "program", work, here / "list.txt", 2, "BIDS", "OUT", "--sloppy")
    assert done.returncode == fails
    words = (here / "program.txt").read_text().split()
    assert words == ["BIDS", "OUT", "participant", "--participant-label", "03", "-w", str(work / "sub-03")] + [
        "--nprocs", "4", "--mem", "7200m", "--sloppy"
    ]  # fmt: skip
    assert (work / "sub-03").exists() == bool(fails)  # kept where it helps a second try


def test_the_container_sees_the_named_folders_under_their_own_names_and_nothing_else(here):
    image, masks = here / "app.sif", here / "masks"
    image.touch()
    masks.mkdir()
    words = ["--derivatives", f"masks={masks}", "-w", here / "work", "--set", "inspect.n_clusters=4"]
    done = script("apptainer.sh", image, here / "bids", here / "out", "participant", *words)
    assert done.returncode == 7  # the program's own
    words = (here / "apptainer.txt").read_text().split("\n")
    binds = [words[position + 1] for position, word in enumerate(words) if word == "-B"]
    assert binds == [f"{here}/bids:{here}/bids:ro", f"{masks}:{masks}:ro", f"{here}/work", f"{here}/out"]
    assert {"--containall", "--cleanenv", "--no-home"} <= set(words)
    position = words.index(str(image))
    assert words[position + 1 : position + 4] == [f"{here}/bids", f"{here}/out", "participant"]


@pytest.mark.parametrize("path", sorted(HPC.glob("nipype_*.yml")), ids=lambda path: path.name)
def test_plugin_files_name_plugins_that_survive(path):
    plugin, settings = read_plugin(path)
    assert plugin in RESILIENT
    assert RESILIENT[plugin](plugin_args=settings)


def test_the_babs_configuration_has_the_sections_of_babs_and_options_of_ours():
    content = yaml.safe_load((HPC / "babs.yaml").read_text())
    sections = {"input_datasets", "singularity_args", "bids_app_args", "zip_foldernames", "cluster_resources"}
    assert sections | {"script_preamble", "job_compute_space"} <= set(content)
    assert content["all_results_in_one_zip"] is True and list(content["zip_foldernames"]) == ["mrspec_prep"]
    assert "--containall" in content["singularity_args"]
    given = {name: str(value) for name, value in content["bids_app_args"].items() if not name.startswith("$")}
    given["-w"] = given["-w"].replace("$BABS_TMPDIR", "/scratch")
    words = [word for name, value in given.items() for word in (name, value)]
    selection = content["bids_app_args"]["$SUBJECT_SELECTION_FLAG"]
    args = build_parser().parse_args(["/in", "/out", "participant", *words, selection, "sub-01"])
    assert args.participant_label == ["sub-01"]
    assert args.mem_gb == pytest.approx(0.9 * 8)
    assert args.nprocs == int(content["cluster_resources"]["number_of_cpus"])
