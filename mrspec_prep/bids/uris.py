"""BIDS URIs: ``bids:<dataset>:<path below its root>``, as sidecars name their sources."""

from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

PLAIN = "/!$&'()*+,;=:@"  # what a path of a URI may hold as it is, beside letters, digits and -._~ (RFC 3986, 3.3)


def bids_uri(path, datasets):
    """BIDS URI of a file, for ``Sources``.

    Parameters
    ----------
    path : path
    datasets : dict of str to path
        Roots by the names of ``DatasetLinks`` (``raw``, ``masks``, ...); the name ``""``
        stands for the derivative dataset itself. The deepest root that holds the file wins.

    Returns
    -------
    str
        ``bids:raw:sub-01/dwi/sub-01_dwi.nii.gz``, percent-encoded where a name needs it;
        the bare file name where no root holds it.

    """
    path = Path(path).resolve()
    roots = sorted(((Path(root).resolve(), name) for name, root in datasets.items()), key=lambda r: -len(r[0].parts))
    for root, name in roots:
        if path.is_relative_to(root):
            return f"bids:{name}:{quote(path.relative_to(root).as_posix(), safe=PLAIN)}"
    return path.name


def path_of_uri(uri, datasets):
    """Where a BIDS URI leads; None of what is none, names an unknown dataset, or leads out of its dataset.

    Parameters
    ----------
    uri : object
        As it stands in a sidecar, which may be a stranger's.
    datasets : dict of str to path
        As of ``bids_uri``.

    Returns
    -------
    Path or None

    """
    scheme, _, rest = uri.partition(":") if isinstance(uri, str) else ("", "", "")
    dataset, colon, inside = rest.partition(":")
    below = PurePosixPath(unquote(inside))
    if scheme != "bids" or not colon or dataset not in datasets or "\0" in str(below):
        return None
    if below == PurePosixPath() or below.is_absolute() or ".." in below.parts:
        return None
    return Path(datasets[dataset]) / below
