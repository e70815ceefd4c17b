"""Slices of a volume side by side: which ones, cropped how, stitched into one picture."""

from dataclasses import dataclass

import numpy as np

GAP = 2  # empty pixels between slices
FROM_END_TO_END = 4  # slices from which the first and the last are among them
SIDES = (("P", "A"), ("L", "R"), ("L", "R"))  # at the left and right edge, by slice axis


@dataclass(frozen=True)
class View:
    """What a figure shows of a volume whose axes run right, front, up.

    Parameters
    ----------
    axis : int
        Slices are taken across this axis.
    slices : tuple of int
        Positions along it.
    box : two pairs of int
        In-plane crop, start and stop of the two other axes.
    pixel : (float, float)
        Width and height of a pixel [mm].
    positions : tuple of float
        Of the slices along their axis [mm].

    """

    axis: int
    slices: tuple
    box: tuple
    pixel: tuple
    positions: tuple

    @property
    def aspect(self):
        """Height over width of one slice as drawn."""
        (left, right), (bottom, top) = self.box
        return (top - bottom) * self.pixel[1] / ((right - left) * self.pixel[0])

    @property
    def sides(self):
        """Letters at the left and right edge of a slice."""
        return SIDES[self.axis]

    @property
    def labels(self):
        """Position of each slice in words, for example ``z = 12 mm``; as the viewer gives it."""
        return [f"{'xyz'[self.axis]} = {round(position, 1) + 0:g} mm" for position in self.positions]


def choose_view(roi, affine, max_slices=12):
    """View that shows a region well.

    Slices are cut across the axis with the thickest voxels, or along which the region is
    thinnest by far, else axially. They spread evenly over the slices that the region fills
    by more than a tenth of its fullest one; up to three stay away from its ends.

    Parameters
    ----------
    roi : (x, y, z) bool array
        Axes to the right, front, up; not empty.
    affine : (4, 4) array
    max_slices : int

    Returns
    -------
    View

    Raises
    ------
    ValueError
        The region is empty.

    """
    if not roi.any():
        raise ValueError("the region of interest is empty")
    size = np.linalg.norm(affine[:3, :3], axis=0)
    bounds = [(int(filled[0]), int(filled[-1]) + 1) for filled in (_filled(roi, axis) for axis in range(3))]
    axis = _slice_axis(size, roi.shape)
    counts = roi.sum(axis=tuple(other for other in range(3) if other != axis))
    full = np.flatnonzero(counts > 0.1 * counts.max())
    n = min(max_slices, len(full))
    if n < FROM_END_TO_END:
        pick = ((np.arange(n) + 0.5) / n * len(full)).astype(int)
    else:
        pick = np.unique(np.linspace(0, len(full) - 1, n).round().astype(int))
    slices = tuple(int(position) for position in full[pick])
    planes = [other for other in range(3) if other != axis]
    box = tuple(_padded(*bounds[other], roi.shape[other]) for other in planes)
    centre = np.array([(start + stop - 1) / 2 for start, stop in bounds])
    positions = []
    for position in slices:
        centre[axis] = position
        positions.append(float((affine[:3, :3] @ centre + affine[:3, 3])[axis]))
    return View(axis, slices, box, (float(size[planes[0]]), float(size[planes[1]])), tuple(positions))


def cut(volume, view, index=None):
    """One slice of a volume as an image, rows from the top.

    Parameters
    ----------
    volume : (x, y, z) array
    view : View
    index : int
        Which of ``view.slices``.

    """
    (left, right), (bottom, top) = view.box
    plane = np.take(volume, view.slices[index or 0], axis=view.axis)
    return plane[left:right, bottom:top].T[::-1]


def stitch(volume, view, n_columns, fill=np.nan):
    """All slices of a view in rows of ``n_columns``, as one float image with ``fill`` between."""
    first = cut(volume, view)
    height, width = first.shape
    n_rows = -(-len(view.slices) // n_columns)
    canvas = np.full((n_rows * (height + GAP) - GAP, n_columns * (width + GAP) - GAP), fill, dtype=float)
    for index in range(len(view.slices)):
        row, column = divmod(index, n_columns)
        top, left = row * (height + GAP), column * (width + GAP)
        canvas[top : top + height, left : left + width] = cut(volume, view, index)
    return canvas


def corner(view, index, n_columns):
    """Column and row (from the top) of the upper left pixel of a slice in the stitched image."""
    (left, right), (bottom, top) = view.box
    row, column = divmod(index, n_columns)
    return column * (right - left + GAP), row * (top - bottom + GAP)


def columns_for(view, width, max_height):
    """Number of columns that makes the slices largest in a given space [inch]."""
    n = len(view.slices)

    def slice_width(n_columns):
        n_rows = -(-n // n_columns)
        return min(width / n_columns, max_height / (n_rows * view.aspect))

    return max(range(1, n + 1), key=lambda n_columns: (round(slice_width(n_columns), 3), -n_columns))


def _filled(roi, axis):
    return np.flatnonzero(roi.any(axis=tuple(other for other in range(3) if other != axis)))


def _slice_axis(size, shape):
    if min(shape) == 1:
        return int(np.argmin(shape))
    thick = np.argmax(size)
    if size[thick] > 1.2 * np.median(size):
        return int(thick)
    thin = int(np.argmin(shape))
    others = [shape[axis] for axis in range(3) if axis != thin]
    return thin if shape[thin] * 3 <= min(others) else 2


def _padded(start, stop, size):
    margin = max(2, round(0.05 * (stop - start)))
    return max(0, start - margin), min(size, stop + margin)
