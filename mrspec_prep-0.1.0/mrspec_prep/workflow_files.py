"""The workflow files that come with the package, found by name or by path.

``mrspec_prep/data/workflows`` is a link to the top-level ``workflows`` folder: the same
files serve a checkout, an editable install and an installed package.
"""

import difflib
from pathlib import Path

WORKFLOW_FOLDER = Path(__file__).parent / "data" / "workflows"


class WorkflowNotFoundError(FileNotFoundError):
    """No workflow file of that name; the message names the nearest one."""


def list_workflows(folder: Path = WORKFLOW_FOLDER) -> list[Path]:
    """Workflow files that come with the package, sorted by name.

    Raises
    ------
    WorkflowNotFoundError
        The folder is absent or empty: the installation is incomplete.

    """
    found = sorted(folder.glob("*.toml"))
    if not found:
        raise WorkflowNotFoundError(f"no workflow files in {folder}. Remedy: install mrspec_prep again")
    return found


def find_workflow(name_or_path: str | Path, folder: Path = WORKFLOW_FOLDER) -> Path:
    """One workflow file.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a file that comes with the package, with or without ``.toml``
        (``t2star-adc_inspect``), or the path of a file of the user's own. A name
        that the package knows wins; write ``./name.toml`` for a file of your own.
    folder : Path
        Where the package's files lie.

    Returns
    -------
    Path

    Raises
    ------
    WorkflowNotFoundError
        Neither a known name nor an existing file; the nearest names are suggested.

    """
    shipped = {path.stem: path for path in list_workflows(folder)}
    text = str(name_or_path)
    name = text.removesuffix(".toml")
    if name in shipped:
        return shipped[name]
    path = Path(text).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise WorkflowNotFoundError(f"workflow {text} is a folder, not a TOML file")
    close = difflib.get_close_matches(path.name.removesuffix(".toml"), list(shipped), n=3, cutoff=0.4)
    hint = f"Did you mean {', '.join(close)}?" if close else f"Known: {', '.join(shipped)}."
    raise WorkflowNotFoundError(f"no workflow {text!r}: neither a name that comes with the package nor a file. {hint}")
