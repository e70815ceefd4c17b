"""Every option of the command, with each of its names, tested for what it does.

What a plan can show is asked of plans, in one process, and nothing is computed; what only a run can show shares one run
of a few voxels. ``ELSEWHERE_TESTED`` names the tests of the rest, and that they exist.
"""

import contextlib
import json
import os
import sys
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nipype.pipeline import engine as pe

from mrspec_prep import __version__
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.cli import history, participants
from mrspec_prep.cli import run as command
from mrspec_prep.cli.habits import ELSEWHERE, OTHER_WORDS
from mrspec_prep.cli.parser import build_parser
from mrspec_prep.cli.resources import Resources
from mrspec_prep.interfaces import reportlets
from mrspec_prep.workflows.participant import init_participants_wf
from tests.bids.conftest import TinyDataset

TESTS = Path(__file__).parents[1]
BVAL = (0, 0, 0, 0, 0, 100, 200, 400, 600, 800, 1000)
ACTIONS = [action for action in build_parser()._actions if action.option_strings]
NAMES = [(action, name) for action in ACTIONS for name in action.option_strings]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """sub-01 with two sessions of two runs, sub-02 with none; decays of 5 x 5 x 3 voxels."""
    tiny = TinyDataset(tmp_path_factory.mktemp("tiny") / "bids")
    rng = np.random.default_rng(0)
    decay = 1000 * np.exp(-np.array(BVAL) * 1e-3) * np.ones((5, 5, 3, 1))
    for stem in [f"sub-01/ses-{s}/dwi/sub-01_ses-{s}_run-{r}" for s in "ab" for r in (1, 2)] + ["sub-02/dwi/sub-02"]:
        data = decay + rng.normal(scale=10, size=decay.shape)
        tiny.image(f"{stem}_dwi", data=data, bval=BVAL, sidecar={"EchoTime": 0.08})
    for name in ("masks", "more"):
        tiny.image(f"../{name}/sub-02/dwi/sub-02_desc-{name}_mask", data=np.ones((5, 5, 3)))
    return tiny.root


@cache
def indexed(root, labels, database_dir, validate):
    """The index of the dataset, made once for all tests that ask for the same."""
    return open_layout(root, labels, database_dir, validate)


@pytest.fixture
def planned(dataset, tmp_path, monkeypatch):
    """Run a command line up to the point where something would be computed: what would be."""
    monkeypatch.chdir(tmp_path)
    asked = {}

    def take(args, settings, _run_id, plans, refused, resources):
        asked.update(args=args, settings=settings, plans=plans, refused=refused, resources=resources)
        return 0, []

    monkeypatch.setattr(participants, "compute", take)
    monkeypatch.setattr(participants, "open_layout", lambda root, labels, *how: indexed(root, tuple(labels), *how))

    def run(*words, subject="02"):
        asked.clear()
        label = ("--participant-label", subject) if subject else ()
        code = command.run([str(w) for w in (dataset, tmp_path / "out", "participant", *label, *words)])
        return type("Asked", (), {"code": code, **asked})

    return run


def value_for(action, tmp_path):
    """Words that an option takes, and nothing else would give."""
    if action.nargs == 0:
        return []
    if action.choices:
        return [list(action.choices)[-1]]
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("{}")
    folder.mkdir(exist_ok=True)
    special = {"bids_filter_file": file, "use_plugin": file, "config_file": file, "derivatives": f"a={folder}"}
    return [str(special.get(action.dest, "7"))]


@pytest.mark.parametrize(("action", "name"), NAMES, ids=[name for _, name in NAMES])
def test_every_name_and_its_spelling_with_underscores_means_the_same(action, name, tmp_path, capsys):
    words = value_for(action, tmp_path)
    spellings = {name, "--" + name[2:].replace("-", "_")} if name.startswith("--") else {name}
    forms = [[spelling, *words] for spelling in spellings]
    forms += [[f"{spelling}={words[0]}"] for spelling in spellings if words and spelling.startswith("--")]
    default = build_parser().parse_args(["in", "out", "participant"])
    for form in forms:
        if action.dest in ("help", "version"):
            with pytest.raises(SystemExit) as stop:
                build_parser().parse_args(form)
            assert stop.value.code == 0
            shown = capsys.readouterr().out
            assert shown.strip() == f"mrspec_prep {__version__}" if action.dest == "version" else "examples:" in shown
            continue
        first = build_parser().parse_args(["in", "out", "participant", action.option_strings[0], *words])
        args = build_parser().parse_args(["in", "out", "participant", *form])
        assert args == first
        assert getattr(args, action.dest) != getattr(default, action.dest)


def test_help_shows_a_value_once_and_a_default_of_every_setting():
    text = build_parser().format_help()
    assert "--participant-label, --subject-label LABEL [LABEL ...]\n" in text
    assert max(map(len, text.splitlines())) <= 120
    for action in ACTIONS:
        assert action.help
        if action.nargs != 0:
            assert "(default: " in action.help, action.option_strings


@pytest.mark.parametrize("word", [*ELSEWHERE, *OTHER_WORDS])
@pytest.mark.parametrize("spell", [str, lambda w: "--" + w[2:].replace("-", "_")], ids=["hyphens", "underscores"])
def test_habits_of_the_family_are_answered(word, spell, capsys):
    options = {name for _, name in NAMES}
    assert word not in options
    with pytest.raises(SystemExit) as stop:
        build_parser().parse_args([spell(word), "1.2", "in", "out", "participant"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert (f"{spell(word)} does not apply: " in said) == (word in ELSEWHERE)
    if word in OTHER_WORDS:
        assert OTHER_WORDS[word] in options
        assert f"did you mean {OTHER_WORDS[word]}?" in said


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--participant-lable", "01"], "did you mean --participant-label?"),
        (["--nproc=3"], "did you mean --nprocs?"),
        (["--stop_on_first_chrash"], "did you mean --stop-on-first-crash?"),
        (["--mem_gb", "8"], "did you mean --mem-mb?"),
        (["-x"], "unrecognized arguments: -x"),
    ],
)
def test_a_wrong_option_suggests_the_right_one(words, hint, capsys):
    with pytest.raises(SystemExit) as stop:
        build_parser().parse_args(["in", "out", "participant", *words])
    assert stop.value.code == 2
    assert hint in capsys.readouterr().err


def test_a_wrong_level_suggests_the_right_one(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["in", "out", "participants"])
    assert "did you mean participant?" in capsys.readouterr().err


def subjects(asked):
    return [plan.subject for plan in asked.plans]


def images(asked):
    series = [one.series for plan in asked.plans for one in plan.series]
    return [image.name.removesuffix("_dwi.nii.gz") for one in series for image in one.images]


def test_participants(planned, capsys):
    assert subjects(planned(subject=None)) == ["01", "02"]
    assert subjects(planned("--participant-label", "sub-02", "02", "01", subject=None)) == ["02", "01"]
    assert subjects(planned("--participant_label", "sub-01", subject=None)) == ["01"]
    assert planned("--subject-label", "2", subject=None).code == 2
    assert "no participant 2 in the dataset. Remedy: did you mean 02? choose from: 01, 02" in capsys.readouterr().err


def test_sessions(planned, capsys):
    assert len(images(planned(subject="01"))) == 4
    assert images(planned("--session-label", "ses-b", "b", subject="01")) == [f"sub-01_ses-b_run-{r}" for r in (1, 2)]
    assert images(planned("--session_id", "a", subject="01")) == [f"sub-01_ses-a_run-{r}" for r in (1, 2)]
    assert planned("--session-id", "c", subject="01").code == 2
    assert "no session c" in (said := capsys.readouterr().err)
    assert "choose from: a, b" in said
    assert planned("--session-label", "a", subject="02").code == 2
    assert "leave the session out: the data have none" in capsys.readouterr().err
    assert subjects(planned("--session-label", "a", subject=None)) == ["01"]
    assert "Left out, as they do not have ses-a: sub-02" in capsys.readouterr().err
    assert planned("--session-label", "c", subject=None).code == 2


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ({"dwi": {"session": "a", "run": 1}}, ["sub-01_ses-a_run-1"]),
        ({"dwi": {"run": ["01", "2"], "session": ["b"]}}, ["sub-01_ses-b_run-1", "sub-01_ses-b_run-2"]),
        ({"dwi": {"session": None}}, []),
        ({"dwi": {"session": "*", "run": 2}}, ["sub-01_ses-a_run-2", "sub-01_ses-b_run-2"]),
        ({"dwi": {"session": "Query.ANY", "acquisition": "Query.NONE", "run": 1, "regex_search": "true"}},
         ["sub-01_ses-a_run-1", "sub-01_ses-b_run-1"]),
        ({"t1w": {"acquisition": "mprage"}, "bold": 3, "dwi": {"run": "1", "ses": "a"}}, ["sub-01_ses-a_run-1"]),
    ],
)  # fmt: skip
def test_filters(planned, tmp_path, content, kept):
    (tmp_path / "filter.json").write_text(json.dumps(content))
    asked = planned("--bids-filter-file", tmp_path / "filter.json", subject="01")
    assert (images(asked) if kept else asked.code) == (kept or 2)
    if "regex_search" in content.get("dwi", {}):
        notes = [note for series in asked.plans[0].series for note in series.series.notes]
        assert any("regex_search, which no image name has; it was not applied" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not valid JSON"), ("[]", "must hold an object"), ('{"dwi": 3}', "must map entities to values")],
)
def test_filters_that_are_none(planned, tmp_path, capsys, text, message):
    (tmp_path / "filter.json").write_text(text)
    assert planned("--bids-filter-file", tmp_path / "filter.json").code == 2
    assert message in capsys.readouterr().err


def test_derivatives(planned, dataset, capsys):
    places = {name: dataset.parent / name for name in ("masks", "more")}
    asked = planned("-d", f"masks={places['masks']}")
    assert [path.parents[2].name for path in asked.plans[0].series[0].masks] == ["masks"]
    asked = planned("--derivatives", *(f"{name}={path}" for name, path in places.items()))
    assert asked.code == 2  # masks of two kinds: the user chooses
    assert "several kinds of masks" in capsys.readouterr().err
    asked = planned("-d", places["masks"], "-d", f"m={places['more']}", "--mask", "automatic")
    assert asked.settings.derivatives == {"masks": str(places["masks"]), "m": str(places["more"])}
    with pytest.raises(SystemExit):
        planned("-d", f"my masks={places['masks']}")
    assert "letters, digits" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        planned("-d", "masks=")
    assert "NAME=PATH of an existing folder" in capsys.readouterr().err


def test_workflow_and_set(planned, tmp_path, capsys):
    assert planned().plans[0].series[0].workflow == "adc_inspect"
    assert planned("--workflow", "msdki_maps.toml", "--noise", "10").code in (0, 2)
    (tmp_path / "mine.toml").write_text('[kernel]\nname = "adc"\n[nnls]\nalpha = 0.3\n')
    assert planned("--workflow", tmp_path / "mine.toml").plans[0].series[0].options.nnls.alpha == 0.3
    asked = planned("--set", "nnls.alpha=0.25", "--set=inspect.n_clusters=4")
    options = asked.plans[0].series[0].options
    assert (options.nnls.alpha, options.inspect.n_clusters) == (0.25, 4)
    for words, hint in (
        (("--workflow", "adc_inspct"), "Did you mean adc_inspect"),
        (("--set", "nnls.alfa=1"), "did you mean alpha"),
        (("--set", "nnsl.alpha=1"), "did you mean nnls"),
        (("--set", "nnls.alpha"), "section.key=value"),
        (("--set", "nnls.alpha=-1"), "alpha"),
    ):
        assert planned(*words).code == 2
        assert hint in capsys.readouterr().err


def test_mask_noise_and_sloppy(planned, dataset):
    mask = dataset.parent / "more/sub-02/dwi/sub-{subject}_desc-more_mask.nii.gz"
    asked = planned("--mask", mask, "--noise", "7.5", "--sloppy")
    (series,) = asked.plans[0].series
    assert [path.name for path in series.masks] == ["sub-02_desc-more_mask.nii.gz"]
    assert series.options.noise.method == 7.5
    assert series.options.inspect.n_clusters == (2, 4) or list(series.options.inspect.n_clusters) == [2, 4]
    assert planned("--noise", "residual").plans[0].series[0].options.noise.method == "residual"


def test_processors_threads_and_memory(planned, monkeypatch):
    for name in ("--nprocs", "--nthreads", "--n-cpus", "--n_cpus"):
        asked = planned(name, "3", "--omp-nthreads", "2", "--mem", "8500m")
        assert (asked.resources.nprocs, asked.resources.omp_nthreads) == (3, 2)
        assert asked.resources.mem_gb == pytest.approx(8.5)
    for name, size, gb in (("--mem_mb", "8000", 8), ("--mem", "4.5G", 4.5), ("--mem-mb", "8g", 8)):
        assert planned(name, size).resources.mem_gb == pytest.approx(gb)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "5")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "10240")
    given = planned().resources
    assert (given.nprocs, given.omp_nthreads) == (5, 5)
    assert given.mem_gb == pytest.approx(9)


def test_work_directory_and_switches_reach_the_run(planned, tmp_path):
    (tmp_path / "plugin.yml").write_text("plugin: Linear\n")
    for name in ("-w", "--work-dir", "--work_dir"):
        assert planned(name, tmp_path / "w").args.work_dir == tmp_path / "w"
    for name in ("--use-plugin", "--nipype-plugin-file"):
        assert planned(name, tmp_path / "plugin.yml").args.use_plugin == tmp_path / "plugin.yml"
    assert planned("--notrack").settings == planned().settings


def test_seed_and_device_reach_every_step_that_draws(planned, tmp_path):
    words = ["--random-seed", "7", "--device", "cpu", "--set", "uncertainty.bootstrap=20", "--set", "maps.model=adc"]
    words += ["--set", "maps.methods=['lsq','vae']", "--set", "inspect_map.n_components=2", "--noise", "10"]
    plans = planned(*words).plans
    workflow = init_participants_wf(
        plans, out_dir=tmp_path / "out", bids_dir=tmp_path, work_dir=tmp_path / "w", run_id="x",
        resources=Resources(1, 1, 4.0, ""),
    )  # fmt: skip
    nodes = {node.name: node.inputs.get() for node in workflow._get_all_nodes() if isinstance(node, pe.Node)}
    drawing = {"inspect_em", "uncertainty", "inspect_map", "maps_lsq", "maps_vae"}
    assert drawing <= set(nodes)
    assert {name: nodes[name]["seed"] for name in drawing} == dict.fromkeys(drawing, 7)
    assert {name for name in nodes if nodes[name].get("device") == "cpu"} == {"maps_lsq", "maps_vae"}
    assert all(inputs["seed"] == 7 for inputs in nodes.values() if "seed" in inputs)
    other = planned(*words[2:], "--random-seed", "8").plans
    assert plans[0].key != other[0].key


def test_dry_run_says_and_writes_what_would_be_done_and_computes_nothing(planned, tmp_path, capsys):
    asked = planned("--dry-run")
    assert asked.code == 0 and not hasattr(asked, "plans")
    said = capsys.readouterr().out
    for words in ("volumes of 1 file(s)", "workflow: adc_inspect", "expected: about", "outputs:"):
        assert words in said
    assert " voxels of the mask" in said  # which was drawn
    header, *rows = (tmp_path / "out/logs/sub-02_series-0_volumes.tsv").read_text().splitlines()
    assert header.split("\t") == ["index", "file", "volume", "b", "gx", "gy", "gz", "TE", "TI", "TR"]
    shown = said.partition("  volumes:\n")[2].partition("\n\n")[0].splitlines()
    assert shown[0].split() == ["index", "file", "volume", "b", "[s/mm2]", "gx", "gy", "gz", "TE", "[ms]"]
    assert len(shown) == 1 + len(rows)
    first = shown[1].split()
    assert first[:4] == ["0", Path(first[1]).name, "0", "0"] and first[-1] == "80"
    assert first[1].endswith("_dwi.nii.gz")


def test_a_reader_of_the_preview_who_has_gone_is_no_error_and_a_full_disk_is_told_as_that(
    planned, tmp_path, monkeypatch, capsys
):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        assert planned("--dry-run", subject=None).code == 0
    assert (tmp_path / "out/logs/sub-02_preview.txt").is_file()
    assert "Remedy" not in capsys.readouterr().err
    with contextlib.suppress(OSError), Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert planned("--dry-run").code == 1
    assert "standard output: No space left on device" in capsys.readouterr().err


def test_dry_run_refuses_what_the_run_would_refuse(planned, dataset, tmp_path, capsys):
    plugin = tmp_path / "plugin.yml"
    plugin.write_text("plugin: [")
    assert planned("--dry-run", "--use-plugin", plugin).code == 2
    assert planned("--dry-run", "--work-dir", dataset / "work").code == 2
    assert "--work-dir" in capsys.readouterr().err


def test_validation_may_be_skipped(planned, dataset, capsys):
    description = dataset / "dataset_description.json"
    content = description.read_text()
    description.unlink()
    try:
        assert planned().code == 2
        assert "--skip-bids-validation" in capsys.readouterr().err
        assert subjects(planned("--skip_bids_validation")) == ["02"]
    finally:
        description.write_text(content)


def test_the_index_is_kept_and_reused(planned, tmp_path, monkeypatch):
    assert subjects(planned("--bids-database-dir", tmp_path / "db")) == ["02"]
    made = (tmp_path / "db" / "layout_index.sqlite").stat().st_mtime_ns
    monkeypatch.setattr("mrspec_prep.bids.layout._index", None)  # indexing again would fail
    assert subjects(planned("--bids_database_dir", tmp_path / "db", subject="01")) == ["01"]
    assert (tmp_path / "db" / "layout_index.sqlite").stat().st_mtime_ns == made


def test_a_run_with_what_only_a_run_can_show(dataset, tmp_path, monkeypatch, capsys):
    """One run of a few voxels: plugin file, graph, cleaned work directory, device and seed in sidecars, more words."""
    monkeypatch.setattr(reportlets, "build_subject_report", _no_figures)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugin.yml").write_text("plugin: Linear\nplugin_args: {}\n")
    work = tmp_path / "w"
    history.claim_work_dir(work, [])
    (work / "left_behind").write_text("of an earlier run")
    _release()
    words = ["--participant-label", "02", "-w", work, "--clean-workdir", "--use-plugin", tmp_path / "plugin.yml"]
    words += ["--write-graph", "-v", "--notrack", "--random-seed", "5", "--noise", "10", "--mask", "automatic"]
    words += ["--set", "kernel.points=[6]", "--set", "inspect.wanted=false", "--device", "cpu"]
    words += ["--set", "maps.model=adc", "--set", "maps.methods=['lsq']"]
    assert command.run([str(w) for w in (dataset, tmp_path / "out", "participant", *words)]) == 0
    _release()
    assert not (work / "left_behind").exists()
    assert (tmp_path / "out/logs/graph.dot").read_text().startswith("digraph")
    sidecars = [json.loads(path.read_text()) for path in (tmp_path / "out/sub-02").rglob("*_dwimap.json")]
    assert {s["Seed"] for s in sidecars} == {5}
    assert {s["Device"] for s in sidecars} == {"cpu"}
    said = capsys.readouterr().err
    assert "Graph: " in said
    assert said.strip().splitlines()[-1].endswith("Finished without errors: 1 participant(s)")
    assert nib.load(next((tmp_path / "out/sub-02").rglob("*param-diffusivity*lsq_dwimap.nii.gz"))).shape == (5, 5, 3)


def _no_figures(out_dir, subject):
    path = Path(out_dir) / f"sub-{subject}.html"
    path.write_text("page")
    return path


def _release():
    for lock in history.LOCKS:
        lock.release()
    history.LOCKS.clear()


#: option -> test of what it does, in another file
ELSEWHERE_TESTED = {
    "--resource-monitor": "test_reruns.py::test_deleted_results_come_back_although_the_work_directory_knows_them",
    "--config-file": "test_reruns.py::test_a_run_file_runs_the_same_again",
    "--reports-only": "test_reruns.py::test_reports_alone_need_results_and_tell_of_failures",
    "--boilerplate-only": "test_reruns.py::test_reports_alone_need_results_and_tell_of_failures",
    "--stop-on-first-crash": "test_reruns.py::test_a_participant_that_was_never_reached_is_not_called_done",
    "--dask": "cli/test_levels.py::test_workers_of_the_group_are_refused_before_anything_runs_where_they_cannot_serve",
}


def test_no_option_is_without_a_test():
    here = Path(__file__).read_text()
    for action in ACTIONS:
        name = next(n for n in action.option_strings if n.startswith("--"))
        if name in ELSEWHERE_TESTED:
            file, test = ELSEWHERE_TESTED[name].split("::")
            assert f"def {test}(" in (TESTS / file).read_text(), name
            assert f'"{name}"' in (TESTS / file).read_text()
        elif name not in ("--help", "--version", "--verbose"):  # tested by name, and -v in the run
            assert f'"{name}"' in here, f"{name} has no test of what it does"
