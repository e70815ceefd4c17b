"""``participants.tsv``: what is known of each participant, as text."""

from pathlib import Path

from mrspec_prep.bids.errors import InputError, read_text

ID = "participant_id"
NOT_AVAILABLE = ("n/a", "N/A", "NA", "NaN", "nan", "")  # BIDS has n/a; R and pandas write the others


def read_participants(folder):
    """Rows of the ``participants.tsv`` of a dataset.

    Parameters
    ----------
    folder : path
        Root of the dataset.

    Returns
    -------
    dict of str to dict
        Label without ``sub-`` -> column -> text, None for n/a; empty where there is no such file.

    Raises
    ------
    InputError
        Not UTF-8, no column participant_id, a row of another length, or a participant twice.

    """
    path = Path(folder) / "participants.tsv"
    if not path.is_file() and not path.is_symlink():
        return {}
    lines = [line for line in read_text(path, "participants.tsv").splitlines() if line.strip()]
    columns = [name.strip() for name in lines[0].split("\t")] if lines else []
    if ID not in columns or len(set(columns)) < len(columns):
        raise InputError(
            "the first line must name the columns, each once, and participant_id among them",
            file=path,
            value=columns,
            remedy="write a tab-separated table whose first column is participant_id",
        )
    rows = {}
    for number, line in enumerate(lines[1:], start=2):
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != len(columns):
            raise InputError(
                f"row {number} has another number of cells than there are columns",
                file=path,
                value=f"{len(cells)} cells, {len(columns)} columns",
                remedy="separate columns by tabs and write n/a where nothing is known",
            )
        row = {name: None if cell in NOT_AVAILABLE else cell for name, cell in zip(columns, cells, strict=True)}
        label = (row.pop(ID) or "").removeprefix("sub-")
        if not label or label in rows:
            raise InputError(
                f"row {number} names {'a participant twice' if label else 'no participant'}",
                file=path,
                value=label or "n/a",
                remedy="give every participant one row",
            )
        rows[label] = row
    return rows


def join_participants(tables):
    """One table of several; where they contradict each other the earlier one holds.

    Parameters
    ----------
    tables : sequence of (path, dict)
        Roots and what ``read_participants`` gave of them, the most trusted first.

    Returns
    -------
    rows : dict of str to dict
        As of ``read_participants``; every row has every column.
    columns : tuple of str
        In order of first appearance, without participant_id.
    warnings : list of str
        Contradictions, in words.

    """
    rows, columns, warnings = {}, {}, []
    for root, table in tables:
        for label, row in table.items():
            known = rows.setdefault(label, {})
            for name, value in row.items():
                columns[name] = None
                if value is None:
                    continue
                if known.get(name) not in (None, value):
                    warnings.append(
                        f"participants.tsv of {root} says {name} = {value} for sub-{label}, "
                        f"another table {known[name]}, which was taken."
                    )
                    continue
                known[name] = value
    complete = {label: {name: row.get(name) for name in columns} for label, row in rows.items()}
    return complete, tuple(columns), warnings
