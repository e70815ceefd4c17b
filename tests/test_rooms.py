"""The house's floor plan: who may import whom, who may touch which library (STYLE: imports run down)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mrspec_prep"
FILES = sorted(PACKAGE.rglob("*.py"))

#: rooms whose modules each room may import, besides itself and the shared top-level modules below
ALLOWED = {
    "physics": set(),
    "spectra": {"physics"},
    "networks": {"physics"},
    "bids": {"physics"},
    "reports": {"bids", "physics"},
    "interfaces": {"reports", "bids", "spectra", "networks", "physics"},
    "workflows": {"interfaces", "reports", "bids", "spectra", "networks", "physics"},
    "cli": {"workflows", "interfaces", "reports", "bids", "spectra", "networks", "physics"},
}
#: inside a room, from the bottom up: a sub-room may import those above it in its list
STACKS = {
    "bids": ["errors", "names", "json_files", "yaml_files", "uris", "locks", "atomic", "nifti", "filters", "dataset"]
    + ["layout", "input", "output", "cohort"],
    "reports": ["words", "remark", "crashes", "html", "style", "mosaic", "cluster_words", "facts", "resolution"]
    + ["figures", "spectrum_figures", "schedule_section", "component_section", "uncertainty", "maps", "collect"]
    + ["scan_cnn", "compartments", "noise_floor", "verdict", "methods", "overview", "viewer", "citations"]
    + ["sections", "subject", "group"],
    "workflows": ["running", "planning", "spectral", "fingerprinting", "participant", "group"],
    "spectra": ["compression", "voxelwise", "regions", "noise", "design"]
    + ["space", "uncertainty", "clusters", "components", "group"],
    "networks": ["problem", "result", "residuals", "device", "weights", "fitting", "risk", "priors"]
    + ["compartments", "voxel_nets", "residual_cnn", "fingerprinting", "maps", "scan_cnn"],
}
SHARED = {
    "options",
    "workflow_files",
    "compiled",
    "threads",
    "__init__",
    "",
}  # read by every room, import none themselves

#: rooms that may use an outside library; a library not named is free
LIBRARIES = {
    "nipype": {"interfaces", "workflows", "cli"},
    "nibabel": {"bids"},
    "bids": {"bids"},
    "h5py": {"bids"},
    "torch": {"networks"},
}
EXCEPT = {("torch", "nnls_torch")}  # the one file of spectra for GPUs, loaded only when a GPU is asked for


def room_of(path):
    parts = path.relative_to(PACKAGE).parts
    if parts == ("__main__.py",):
        return "cli"  # python -m mrspec_prep
    return parts[0] if len(parts) > 1 else path.stem


def imports(path):
    """Yield (module, line) for every import of a file, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: relative import; write mrspec_prep.<room>"
            if node.module == "mrspec_prep":
                yield from ((f"mrspec_prep.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield node.module, node.lineno


def forbidden(path, room):
    """Lines of a file that break the floor plan, in words."""
    for module, line in imports(path):
        head, *rest = module.split(".")
        if head == "mrspec_prep":
            target = rest[0] if rest else ""
            if target.startswith("__"):
                continue  # the version
            if room in SHARED and target != room:
                yield f"{path.name}:{line}: {room} serves every room and may import none, not {module}"
            elif target not in SHARED and target != room and target not in ALLOWED[room]:
                yield f"{path.name}:{line}: {room} may not import {target}"
        elif head in LIBRARIES and room not in LIBRARIES[head] and (head, path.stem) not in EXCEPT:
            yield f"{path.name}:{line}: {room} may not import {head}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_down(path):
    room = room_of(path)
    assert room in ALLOWED or room in SHARED, f"a new room {room}: say in this test what it may import"
    assert list(forbidden(path, room)) == []


STACKED = [path for path in FILES if path.relative_to(PACKAGE).parts[0] in STACKS]


@pytest.mark.parametrize("path", STACKED, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_within_a_room_are_stacked(path):
    whole, *rest = path.relative_to(PACKAGE).parts
    if rest == ["__init__.py"]:
        return  # gathers the public names
    stack, room = STACKS[whole], rest[0].removesuffix(".py")
    inside = [(m.split("."), line) for m, line in imports(path) if m.startswith(f"mrspec_prep.{whole}")]
    for (_, _, target, *_), line in inside:
        assert stack.index(target) <= stack.index(room), f"{path.name}:{line}: {room} may not import {target}"


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("physics", "import nibabel"),
        ("spectra", "from mrspec_prep.bids import images"),
        ("physics", "def f():\n    import torch"),
        ("bids", "from mrspec_prep import reports"),
        ("reports", "from nipype.pipeline import engine"),
        ("options", "from mrspec_prep.physics import Grid"),
    ],
)
def test_a_broken_rule_is_seen(tmp_path, room, line):
    path = tmp_path / "module.py"
    path.write_text(line)
    assert len(list(forbidden(path, room))) == 1


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_bears_a_standard_library_name_or_outgrows_one_thing(path):
    # physics/encodings and reports/html are the house's own words; as submodules they shadow nothing
    assert path.stem in ("__init__", "__main__", "encodings", "html") or path.stem not in sys.stdlib_module_names
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_bare_except(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bare = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type is None]
    assert bare == []


@pytest.mark.parametrize("room", ["physics", "spectra"])
def test_the_maths_is_importable_without_what_it_must_not_know(room):
    code = (
        f"import sys, mrspec_prep.{room}\n"
        "found = {'nipype', 'nibabel', 'bids', 'torch', 'h5py'} & set(sys.modules)\n"
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
