"""Exact derivatives of the signal equations: numbers that carry their derivatives along (forward mode)."""

import numpy as np


class Dual:
    """Array with its derivatives after named parameters.

    Only what the signal equations use is defined: sums, products, quotients, powers, ``exp``, ``abs``.

    Parameters
    ----------
    value : array
    parts : dict of str to array
        Derivative of every element of ``value`` after each parameter; broadcasts with ``value``.
        Parameters that are missing have derivative zero.

    """

    __slots__ = ("parts", "value")
    __array_ufunc__ = None  # array * Dual asks Dual

    def __init__(self, value, parts):
        self.value = value
        self.parts = parts

    def chain(self, value, slope):
        """Dual of a function of this one: its value and its derivative, both arrays."""
        return Dual(value, {name: slope * part for name, part in self.parts.items()})

    def __neg__(self):
        return Dual(-self.value, {name: -part for name, part in self.parts.items()})

    def __add__(self, other):
        if not isinstance(other, Dual):
            return Dual(self.value + other, self.parts)
        parts = dict(self.parts)
        for name, part in other.parts.items():
            parts[name] = parts[name] + part if name in parts else part
        return Dual(self.value + other.value, parts)

    def __sub__(self, other):
        return self + (-other)

    def __rsub__(self, other):
        return (-self) + other

    def __mul__(self, other):
        if not isinstance(other, Dual):
            return self.chain(self.value * other, other)
        parts = {name: part * other.value for name, part in self.parts.items()}
        for name, part in other.parts.items():
            term = part * self.value
            parts[name] = parts[name] + term if name in parts else term
        return Dual(self.value * other.value, parts)

    def __pow__(self, power):
        if isinstance(power, Dual):  # of a positive base
            value = self.value**power.value
            return self.chain(value, power.value * value / self.value) + power.chain(0.0, value * np.log(self.value))
        return self.chain(self.value**power, power * self.value ** (power - 1))

    def __truediv__(self, other):
        return self * (other**-1 if isinstance(other, Dual) else 1.0 / np.asarray(other))

    def __rtruediv__(self, other):
        return self**-1 * other

    def __abs__(self):
        return self.chain(np.abs(self.value), np.sign(self.value))

    def exp(self):
        """Exponential."""
        value = np.exp(self.value)
        return self.chain(value, value)

    __radd__ = __add__
    __rmul__ = __mul__


def variables(values):
    """Parameters to differentiate after.

    Parameters
    ----------
    values : dict of str to float array

    Returns
    -------
    dict of str to Dual

    """
    return {name: Dual(value, {name: 1.0}) for name, value in values.items()}
