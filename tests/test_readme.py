import re
import tomllib
from pathlib import Path

from mrspec_prep.cli.parser import build_parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, flags=re.MULTILINE | re.DOTALL)[1]


def test_quick_start_is_two_commands_and_ci_runs_the_second():
    blocks = re.findall(r"```bash\n(.*?)```", section("Quick start"), flags=re.DOTALL)
    assert [block.strip() for block in blocks] == ["make example", "make test"]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {"example", "test"} <= set(targets)
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == "make test"


def test_option_table_lists_every_option_and_no_other():
    parser = build_parser()
    table = "\n".join(line.split("|")[1] for line in section("Use").splitlines() if line.startswith("| `-"))
    shown = set(re.findall(r"`(-[\w-]+)`", table))
    known = {option for action in parser._actions for option in action.option_strings}
    assert shown <= known
    for action in parser._actions:
        assert set(action.option_strings) & (shown | {"--help"}) or not action.option_strings, action.option_strings


def test_constraints_pin_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["test"], *extras["hpc"], *extras["docs"], *extras["dev"]]
    names = {re.match(r"[\w-]+", requirement)[0].lower() for requirement in wanted}
    pinned = set()
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, version = line.split("==")
            assert "+" not in version, f"{line}: a local label is not on every index"
            pinned.add(name.lower())
    assert names - {"setuptools", "mrspec_prep"} <= pinned
