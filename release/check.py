"""Is this tree fit to be released? `make release-check`; on a tag: `python -m release.check --tag v1.2.3`.

Version, changelog, citation file and tag agree; sdist and wheel hold what they should and nothing else; the wheel works
in a fresh environment from which this repository cannot be seen.
"""

import argparse
import datetime
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "bids_examples"
NEEDED = ("mrspec_prep", "workflows", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGES.md",
          "CITATION.cff", "constraints.txt")  # to build with
UNWANTED = ("tests/", "benchmarks/", "bids_examples/", "docs/", "release/")  # never in what is published


class NotFitError(Exception):
    """What keeps this tree from being released."""


def main(argv=None):
    """Check everything; the exit code is 1 where something is amiss."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tag", help="the tag of the release, v<version>; asks for its date in the files, too")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where sdist and wheel go (default: dist)")
    parser.add_argument(
        "--with-installed", action="store_true",
        help="take the libraries of this environment, not pip's: seconds instead of minutes",
    )  # fmt: skip
    options = parser.parse_args(argv)
    try:
        print(f"version {check_versions(ROOT, options.tag)}")
        wheel, sdist = build(options.dist)
        check_wheel(wheel)
        check_sdist(sdist)
        check_installed(wheel, options.with_installed)
    except NotFitError as error:
        print(f"not fit to be released: {error}", file=sys.stderr)
        return 1
    print("fit to be released" if options.tag else "fit to be released, once dated and tagged")
    return 0


def check_versions(root, tag=None):
    """Version of the tree.

    Raises
    ------
    NotFitError
        Package, changelog and citation file (and tag, where there is one) do not say the same.

    """
    version = _only(r'^__version__ = "(.+)"$', root / "mrspec_prep" / "__init__.py")
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        raise NotFitError(f"mrspec_prep/__init__.py: {version} is no version such as 1.2.3 or 1.2.3rc1")
    cited = _only(r"^version: (.+)$", root / "CITATION.cff")
    if cited != version:
        raise NotFitError(f"CITATION.cff says {cited}, mrspec_prep/__init__.py {version}")
    headings = re.findall(r"^## (\S+) \((.+)\)$", (root / "CHANGES.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    if not headings or headings[0][0] != version:
        raise NotFitError(f"CHANGES.md does not begin with a heading '## {version} (date)'")
    if tag is not None:
        _check_dated(root, version, tag, headings[0][1])
    return version


def _check_dated(root, version, tag, date):
    """Refuse a tag that is another version, or a release without its date."""
    if tag != f"v{version}":
        raise NotFitError(f"the tag is {tag}, the version {version}: it should be v{version}")
    try:
        datetime.date.fromisoformat(date)
    except ValueError as error:
        raise NotFitError(f"CHANGES.md: ({date}) should be the date of the release, such as (2026-12-01)") from error
    released = _only(r"^date-released: (.+)$", root / "CITATION.cff").strip("'\"")
    if released != date:
        raise NotFitError(f"CITATION.cff was released {released}, CHANGES.md {date}")


def _only(pattern, path):
    """What a pattern finds in a file, once."""
    found = re.findall(pattern, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if len(found) != 1:
        raise NotFitError(f"{path.name} should hold one line {pattern}, and holds {len(found)}")
    return found[0]


def build(dist):
    """Build wheel and sdist into an emptied folder, from a copy without what earlier builds left; both paths."""
    shutil.rmtree(dist, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "mrspec_prep"
        copy.mkdir()
        for name in NEEDED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, copy / name)
        _run([sys.executable, "-m", "build", "--outdir", dist, copy])
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    for path in (wheel, sdist):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
    return wheel, sdist


def package_files():
    """Files that the wheel must hold: code and data of the package, workflow files included."""
    package = ROOT / "mrspec_prep"
    files = [path for path in package.rglob("*") if path.is_file()]
    files += [path for path in (package / "data" / "workflows").rglob("*") if path.is_file()]  # rglob stops at links
    wanted = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    return {name for name in wanted if not name.endswith((".pyc", ".nbi", ".nbc"))}


def check_wheel(wheel):
    """Refuse a wheel that lacks a file of the package, or holds what is none.

    Raises
    ------
    NotFitError
        Names the files.

    """
    held = set(zipfile.ZipFile(wheel).namelist())
    missing = package_files() - held
    if missing:
        raise NotFitError(f"{wheel.name} lacks {', '.join(sorted(missing))}")
    extra = {name for name in held if not name.startswith("mrspec_prep")} | {n for n in held if n.startswith(UNWANTED)}
    if extra:
        raise NotFitError(f"{wheel.name} holds {', '.join(sorted(extra)[:5])}")
    print(f"{wheel.name}: {len(held)} files, all of the package")


def check_sdist(sdist):
    """Refuse an sdist from which the package cannot be built, or whose licence is missing."""
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    missing = (package_files() | {"LICENSE", "README.md", "CHANGES.md", "constraints.txt", "pyproject.toml"}) - held
    if missing:
        raise NotFitError(f"{sdist.name} lacks {', '.join(sorted(missing)[:5])}")
    extra = {name for name in held if name.startswith(UNWANTED)}
    if extra:
        raise NotFitError(f"{sdist.name} holds {', '.join(sorted(extra)[:5])}")


def check_installed(wheel, with_installed=False):
    """Install the wheel where this repository cannot be seen, and use it.

    Raises
    ------
    NotFitError
        A command ends with another exit code than it should; its last words are quoted.

    """
    print("installing the wheel into a fresh environment", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _run([sys.executable, "-m", "venv", home / "env"])
        python = home / "env" / "bin" / "python"
        more = ["-c", ROOT / "constraints.txt"]
        if with_installed:
            (site,) = (home / "env" / "lib").glob("python*/site-packages")
            here = Path(sys.prefix, "lib", site.parent.name, "site-packages")
            (site / "libraries.pth").write_text(f"{here}\n")
            more = ["--no-deps"]
        _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *more, wheel], home)
        _use(python, home)


def _use(python, home):
    """Version, help, dry runs and shipped weights of the installed wheel."""
    where = _run([python, "-c", "import mrspec_prep; print(mrspec_prep.__file__)"], home)
    if str(home) not in where:
        raise NotFitError(f"the fresh environment does not use the wheel but {where.strip()}")
    program = home / "env" / "bin" / "mrspec_prep"
    version = _run([program, "--version"], home)
    if version.split()[-1] != check_versions(ROOT):
        raise NotFitError(f"--version says {version.strip()}")
    _run([program, "--help"], home)
    for name, workflow in (("zebra_t2star-adc", "t2star-adc_inspect"), ("t1-t2_mese", "t1-t2_classify")):
        shutil.copytree(EXAMPLES / name, home / name)
        said = _run([program, home / name, home / "out", "participant", "--dry-run", "--workflow", workflow], home)
        if workflow not in said:
            raise NotFitError(f"the dry run of {name} does not name its workflow: {said[-500:]}")
    print("wheel in a fresh environment: --version, --help, two dry runs, shipped weights")


def _run(command, folder=ROOT):
    """What a command prints; NotFitError where it fails. The repository is not on its path unless it works there."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ended = subprocess.run([str(word) for word in command], cwd=folder, env=environ, capture_output=True, text=True)
    if ended.returncode:
        words = " ".join(str(word) for word in command)
        raise NotFitError(f"{words} ended with {ended.returncode}:\n{ended.stderr[-1500:]}")
    return ended.stdout


if __name__ == "__main__":
    sys.exit(main())
