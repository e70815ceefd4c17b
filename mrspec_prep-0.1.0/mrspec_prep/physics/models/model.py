"""What a signal model is: parameters with units and bounds, one equation, the volumes it describes."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from mrspec_prep.physics.duals import Dual, variables
from mrspec_prep.physics.encodings import AXES, Encodings

LINKS = ("linear", "log", "logit")
S0 = "s0"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a model.

    Attributes
    ----------
    name : str
        As in ``maps`` of a result and in ``maps.toml``.
    unit : str
        Inside the package: ``um2/ms``, ``ms``, ``1`` or ``signal``.
    low, high : float
        Bounds [unit].
    starts : tuple of float
        Values a fit starts from, combined with those of the other parameters.
    link : str
        Scale on which tissue is described by Gaussians: ``linear`` (values beyond a bound count as the
        bound), ``log``, ``logit`` (of the place between the bounds).

    Raises
    ------
    ValueError
        Bounds or starts out of order, unknown link.

    """

    name: str
    unit: str
    low: float
    high: float
    starts: tuple[float, ...] = ()
    link: str = "linear"

    def __post_init__(self):
        if not self.low < self.high:
            raise ValueError(f"bounds of {self.name} must satisfy low < high, got {self.low} and {self.high}")
        if self.link not in LINKS:
            raise ValueError(f"link of {self.name} must be one of {', '.join(LINKS)}, got {self.link!r}")
        if any(not self.low <= start <= self.high for start in self.starts):
            raise ValueError(f"starts of {self.name} must lie in [{self.low}, {self.high}], got {self.starts}")


AMPLITUDE = Parameter(S0, "signal", 0.0, np.inf, link="log")
#: Cartesian components of an axis; only their ratios count, and fits return them with length one
DIRECTION = tuple(Parameter(f"direction_{axis}", "1", -1.0, 1.0) for axis in "xyz")


@dataclass(frozen=True, eq=False)
class Model:
    """Signal of one voxel: S0 times a shape that depends on the other parameters.

    Attributes
    ----------
    name : str
    tissue : tuple of Parameter
        Parameters other than S0, and other than the direction.
    needs : tuple of str
        Fields of ``Encodings`` that must vary.
    shape : callable
        ``shape(e, **parameters)``: signal for S0 = 1 of the encodings ``e`` (an object with the fields
        of ``Encodings``); works on arrays, tensors and ``Dual`` numbers that broadcast.
    reference : str
    oriented : bool
        The signal depends on the gradient direction, through ``direction_x``, ``_y``, ``_z``. If not,
        volumes of one encoding are averaged over directions (powder mean).
    b_limit : float
        Volumes beyond are left out [s/mm2].
    valid : callable or None
        ``valid(e, **parameters)``: where the model describes all encodings, (n_voxels,) bool.
    magnitude : bool
        The signal is never negative; signed data need another model.
    log_design : callable or None
        ``log_design(e)``: (n_encodings, n_parameters) matrix of a model whose logarithm is linear in some
        coefficients, the first of them log S0.
    from_log : callable or None
        ``from_log(coefficients)``: parameters (n_voxels, n_parameters) of those coefficients.

    """

    name: str
    tissue: tuple[Parameter, ...]
    needs: tuple[str, ...]
    shape: Callable
    reference: str
    oriented: bool = False
    b_limit: float = np.inf
    valid: Callable | None = None
    magnitude: bool = True
    log_design: Callable | None = None
    from_log: Callable | None = None

    @property
    def parameters(self):
        """All parameters: S0, tissue, direction."""
        return (AMPLITUDE, *self.tissue, *(DIRECTION if self.oriented else ()))

    @property
    def names(self):
        """Names of ``parameters``."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def n_free(self):
        """Number of free parameters: of a direction, only two of three."""
        return len(self.parameters) - (1 if self.oriented else 0)

    def signal(self, encodings, parameters):
        """Signals of voxels.

        Parameters
        ----------
        encodings : Encodings
        parameters : dict of str to array or tensor
            Every name of ``names``, equal shapes (...).

        Returns
        -------
        (..., n_encodings) array or tensor
            [unit of S0].

        """
        columns = table(encodings, parameters[S0])
        values = {name: parameters[name][..., None] for name in self.names}
        return values.pop(S0) * self.shape(columns, **values)

    def jacobian(self, encodings, values):
        """Signals and their exact derivatives.

        Parameters
        ----------
        encodings : Encodings
        values : (n_voxels, n_parameters) array
            In the order of ``names``.

        Returns
        -------
        signals : (n_voxels, n_encodings) array
        derivatives : (n_parameters, n_voxels, n_encodings) array

        """
        numbers = variables({name: values[:, [p]] for p, name in enumerate(self.names) if name != S0})
        amplitude, shape = values[:, [0]], self.shape(table(encodings, values), **numbers)
        full = (len(values), len(encodings))
        derivatives = np.empty((len(self.names), *full))
        parts = shape.parts if isinstance(shape, Dual) else {}
        derivatives[0] = shape.value
        for p, name in enumerate(self.names[1:], 1):
            np.multiply(parts.get(name, 0.0), amplitude, out=derivatives[p])
        return amplitude * derivatives[0], derivatives


def table(encodings: Encodings, like):
    """Encodings as plain columns (n_encodings,), of the kind of ``like``: arrays, or tensors on its device."""

    def column(values):
        if values is None or not hasattr(like, "new_tensor"):
            return values
        return like.new_tensor(np.array(values))

    return SimpleNamespace(**{name: column(getattr(encodings, name)) for name in (*AXES, "direction")})
