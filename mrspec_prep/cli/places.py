"""Folders of a run: which may lie where, so that nothing of the user's is written into or emptied."""

import os
from pathlib import Path

from mrspec_prep.bids.errors import InputError


def check_output(bids_dir, out_dir):
    """Refuse to write results into the raw data.

    Raises
    ------
    InputError
        ``out_dir`` is the dataset itself (also by another name) or lies in a participant's folder.

    """
    raw, out = Path(bids_dir).resolve(), Path(out_dir).resolve()
    remedy = "write to a folder of its own, e.g. derivatives/mrspec_prep"
    if out == raw:
        raise InputError("OUT_DIR is the BIDS dataset itself", value=out_dir, remedy=remedy)
    top = out.relative_to(raw).parts[0] if out.is_relative_to(raw) else ""
    if top.startswith("sub-") or top in ("sourcedata", "code", "stimuli"):
        raise InputError("OUT_DIR lies inside the raw data", value=out_dir, remedy=remedy)
    if out.exists() and not out.is_dir():
        raise InputError("OUT_DIR is a file", value=out_dir, remedy=remedy)


def check_links(out_dir, names, through=True):
    """Refuse links in OUT_DIR through which results would be written somewhere else.

    Parameters
    ----------
    out_dir : path
    names : sequence of str
        Folders of it.
    through : bool
        Whether they are looked through for further folders; not where they hold something of every participant, as
        each of many jobs would look through all.

    Raises
    ------
    InputError
        A folder there is a link that leads out of OUT_DIR.

    """
    out = Path(out_dir).resolve()
    for top in (Path(out_dir) / name for name in names):
        below = (Path(root) / name for root, folders, _ in os.walk(top) for name in folders) if through else ()
        for folder in (top, *below):
            if folder.is_symlink() and not folder.resolve().is_relative_to(out):
                raise InputError(
                    "this link leads out of OUT_DIR, and results would be written there",
                    file=folder,
                    value=folder.resolve(),
                    remedy="remove the link, or give the folder it leads to as part of OUT_DIR",
                )


def check_sites(sites, out_dir, work_dir):
    """Refuse to write into other sites' results.

    Raises
    ------
    InputError
        ``out_dir`` or ``work_dir`` lies inside one of ``sites`` that is not ``out_dir`` itself.

    """
    out = Path(out_dir).resolve()
    for site in (Path(site).resolve() for site in sites):
        for what, folder in (("OUT_DIR", out), ("the work directory", Path(work_dir).resolve())):
            if site != out and folder.is_relative_to(site):
                raise InputError(
                    f"{what} lies inside the results of another site, {site}, which stay as they are",
                    value=folder,
                    remedy="give it a folder of its own",
                )


def check_work_dir(work_dir, bids_dir, out_dir, derivatives=()):
    """Refuse a work directory in the raw data, or one that holds data or results.

    Intermediate results in the raw data would end in other people's analyses; a work directory
    around data would empty them with ``--clean-workdir``.

    Parameters
    ----------
    work_dir, bids_dir, out_dir : path
    derivatives : sequence of path
        Further inputs.

    Returns
    -------
    str or None
        What the user should know, in words.

    Raises
    ------
    InputError
        It lies there, or around them.

    """
    work = Path(work_dir).resolve()
    remedy = "give --work-dir a folder of its own, outside data and results"
    for what, folder in [("OUT_DIR", out_dir), ("the BIDS dataset", bids_dir), *(("an input", d) for d in derivatives)]:
        if Path(folder).resolve().is_relative_to(work):
            raise InputError(f"the work directory holds {what}, {folder}", file=work_dir, remedy=remedy)
    if work.is_relative_to(Path(bids_dir).resolve()):
        raise InputError("the work directory lies inside the BIDS dataset", file=work_dir, remedy=remedy)
    out = Path(out_dir).resolve()
    if work.is_relative_to(out) and not any(part.startswith(".") for part in work.relative_to(out).parts):
        return (
            f"The work directory {work_dir} lies inside OUT_DIR: BIDS tools will take it for results. "
            "Remove it when all is done, or give another --work-dir"
        )
    return None
