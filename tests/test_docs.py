"""Every example of the documentation runs, every command line is one, every link leads somewhere."""

import importlib.util
import re
import tomllib
from importlib import import_module

import numpy as np
import pytest

from docs.builder import command_line, outputs, pages, settings
from mrspec_prep.bids.output.catalogue import load_catalogue
from mrspec_prep.cli.parser import build_parser
from mrspec_prep.options import Options, load_options
from mrspec_prep.physics.kernels import KERNELS
from mrspec_prep.physics.models import MODELS
from tests.docs_pages import DOCS, PAGES, ROOT, blocks, commands, name_of, prose

WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]
WITH_TOML = [page for page in PAGES if blocks(page, "toml")]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def fingerprints_are_found(space, said):
    np.testing.assert_allclose(space["found"].t1, [850, 1400], rtol=1e-3)
    np.testing.assert_allclose(space["found"].t2, [65, 95], rtol=1e-3)
    np.testing.assert_allclose(space["found"].m0, 1 + 2j, rtol=1e-3)


def the_added_model_is_fitted(space, said):
    lines = [line for line in said.splitlines() if ": error" in line]
    error, stated = zip(*((float(x) for x in re.findall(r"0\.\d+", line)) for line in lines), strict=True)
    assert [line.split(":")[0] for line in lines] == ["lsq", "lsq-gmm"]
    assert error[1] <= error[0] < 0.05
    assert stated == pytest.approx(error, rel=0.25)


def the_added_kernel_finds_its_tissue(space, said):
    np.testing.assert_allclose(np.median(space["means"]["t2star"]), 25, rtol=0.1)
    np.testing.assert_allclose(np.median(space["means"]["t1"]), 900, rtol=0.1)


def the_added_map_is_read_back(space, said):
    assert said.strip() == load_catalogue()["maps"]["entropy"]["description"]
    assert space["entropy"][0] == pytest.approx(space["spectral_entropy"](space["result"])[0])


def one_compartment_is_told_from_several(space, said):
    assert (space["found"].n_compartments[:50] == 1).all() and (space["found"].n_compartments[50:] != 1).all()
    assert space["probabilities"][50:, 0].max() < 0.01


#: what the variables and the output of a page must say, beyond running
CHECKS = {
    "README.md": lambda space, said: said.startswith("(5, 400)") and space["result"].gap.max() <= 1e-9,
    "docs/fingerprinting.md": fingerprints_are_found,
    "docs/scan_cnn.md": lambda space, said: abs(space["found"].t2[:15].mean() - 60) < 3,
    "docs/maps.md": lambda space, said: said.endswith("(400, 4)\n"),
    "docs/add_a_model.md": the_added_model_is_fitted,
    "docs/add_a_kernel.md": the_added_kernel_finds_its_tissue,
    "docs/add_a_map.md": the_added_map_is_read_back,
    "docs/inspect.md": lambda space, said: space["selection"].best == 3,
    "docs/nnls.md": lambda space, said: space["found"].converged.all(),
    "docs/compartments.md": one_compartment_is_told_from_several,
    "docs/group_report.md": lambda space, said: space["found"].p_overall < 0.05,
}


@pytest.fixture
def tables(monkeypatch, request):
    """Tables that the pages on adding things extend, put back afterwards; a map of the page is entered beforehand."""
    monkeypatch.setattr("mrspec_prep.physics.kernels.KERNELS", KERNELS)
    kept = [(table, dict(table)) for table in (KERNELS, MODELS, load_catalogue()["maps"], load_catalogue()["models"])]
    yield
    for table, content in kept:
        table.clear()
        table.update(content)


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_python_blocks_run_from_top_to_bottom(page, tables, capsys):
    for text in blocks(page, "toml"):
        for kind in ("maps", "models"):
            load_catalogue()[kind].update({k: v for k, v in tomllib.loads(text).get(kind, {}).items() if "title" in v})
    space = {"__name__": name_of(page)}
    for number, code in enumerate(blocks(page, "python"), 1):
        exec(compile(code, f"{name_of(page)}, python block {number}", "exec"), space)
    said = capsys.readouterr().out
    outcome = CHECKS[name_of(page)](space, said) if name_of(page) in CHECKS else None
    assert outcome is None or outcome, said


def test_no_check_is_of_a_page_that_is_gone():
    assert set(CHECKS) <= {name_of(page) for page in WITH_PYTHON}


@pytest.mark.parametrize("page", WITH_TOML, ids=name_of)
def test_toml_blocks_are_settings_or_entries_of_the_catalogue(page, tmp_path):
    for text in blocks(page, "toml"):
        added, known = tomllib.loads(text), load_catalogue()
        if {"maps", "models"} & set(added) and "model" not in added.get("maps", {}):
            for entry in added.get("maps", {}).values():
                assert entry.keys() == known["maps"]["model-kurtosis"].keys()
            for entry in added.get("models", {}).values():
                assert entry.keys() == known["models"]["msdki"].keys()
        else:
            (tmp_path / "settings.toml").write_text(text)
            load_options(tmp_path / "settings.toml")


def lenient_parser():
    """The program's parser, which need not find the files that a page makes up."""
    parser = build_parser()
    for action in parser._actions:
        action.type = None
    return parser


def invocation(words):
    """Words behind the program's name, in a container or not; None where another program is called."""
    if words[0] == "mrspec_prep" or words[0].endswith("/mrspec_prep"):
        return words[1:]
    if words[:2] in (["docker", "run"], ["apptainer", "run"]):
        image = next((i for i, word in enumerate(words) if word in ("mrspec_prep", "mrspec_prep.sif")), None)
        return words[image + 1 :] if image else None
    return None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_command_lines_are_read_by_the_parser(page):
    for words in commands(page):
        arguments = invocation(words)
        if not arguments or "..." in arguments:
            continue
        if arguments[0].startswith("-") and not {"--version", "--help"} & set(arguments):
            continue
        arguments = [word for word in arguments if word not in ("[options]",)]
        try:
            parsed = lenient_parser().parse_args(arguments)
        except SystemExit as ended:
            assert ended.code == 0, f"{name_of(page)}: {' '.join(words)}"
            continue
        load_options(overrides=[text for text in parsed.overrides if "=" in text])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_named_in_sentences_exist(page):
    for override in re.findall(r'`--set "?([a-z_]+\.[a-z_0-9]+)=', prose(page)):
        section, key = override.split(".")
        if "key" in (key, section):
            continue  # a name that stands for any
        assert key in Options().to_dict()[section], f"{name_of(page)}: {override}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_and_modules_exist_with_their_options(page):
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
    for words in commands(page):
        if words[0] == "make":
            wanted = {word for word in words[1:] if re.fullmatch("[a-z-]+", word)}
            assert wanted <= targets, f"{name_of(page)}: {' '.join(words)}"
        if "-m" in words[:3] and words[0].split("/")[-1].startswith("python"):
            at = words.index("-m")
            module = words[at + 1]
            if not module.startswith(("benchmarks.", "docs.")):
                continue
            found = importlib.util.find_spec(module)
            assert found, f"{name_of(page)}: no module {module}"
            options = {word.split("=")[0] for word in words[at + 2 :] if word.startswith("--")}
            stem = ROOT / module.replace(".", "/")
            source = "".join(path.read_text(encoding="utf-8") for path in stem.parent.glob(f"{stem.name}*.py"))
            missing = {option for option in options if f'"{option}"' not in source}
            assert not missing, f"{name_of(page)}: {module} has no {', '.join(sorted(missing))}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_within_the_repository_lead_somewhere(page):
    made = {*pages.ELSEWHERE}
    for target in re.findall(r"\[[^\]]*\]\((?![a-z]+:|#)([^)#\s]+)", prose(page)):
        assert (page.parent / target).exists() or target in made, f"{name_of(page)}: {target}"


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r"([a-z_0-9]+\.md)$", navigation, flags=re.MULTILINE)
    assert sorted(listed) == sorted({page.name for page in DOCS.glob("*.md")} | {*pages.ELSEWHERE})
    assert len(listed) == len(set(listed))


def test_the_settings_page_has_every_key():
    text = settings.text()
    for section, content in Options().to_dict().items():
        if section != "description":
            assert all(f"| `{key}` |" in text.partition(f"## `[{section}]`")[2] for key in content), section


def test_a_setting_without_a_word_of_documentation_is_refused():
    with pytest.raises(ValueError, match="Undocumented.silent"):
        settings.documented_keys(import_module("tests.undocumented").Undocumented)


def test_the_outputs_page_has_every_map_and_method():
    text, catalogue = outputs.text(), load_catalogue()
    assert all(text.count(f"| `{key}` |") >= 1 for key in catalogue["maps"])
    assert all(f"`desc-{key}`" in text for key in catalogue["methods"])
    assert all(f"`model-{key}`" in text for key in catalogue["models"])


def test_a_map_that_no_group_of_the_outputs_page_names_is_refused(tables):
    load_catalogue()["maps"]["new"] = load_catalogue()["maps"]["noise"]
    with pytest.raises(ValueError, match="new"):
        outputs.text()


def test_the_command_line_page_has_every_option():
    text = command_line.text()
    for action in build_parser()._actions:
        assert all(f"`{name}`" in text for name in action.option_strings)


def test_links_out_of_docs_become_links_of_the_site():
    links = "[a](../CHANGES.md) [b](noise.md#x) [c](../bids_examples/mrf) [d](https://e.org)"
    text = pages.with_site_links(links, "index.md")
    assert text == "[a](changes.md) [b](noise.md#x) c (`bids_examples/mrf`) [d](https://e.org)"
    assert pages.with_site_links("[a](docs/noise.md)", "contributing.md") == "[a](noise.md)"
