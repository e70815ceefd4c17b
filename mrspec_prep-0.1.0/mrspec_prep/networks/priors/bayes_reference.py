"""What is possible: the posterior mean under a prior that is known, as in a simulation."""

from mrspec_prep.networks.fitting.least_squares import least_squares
from mrspec_prep.networks.priors.importance import Sampler, Summary, summarise
from mrspec_prep.networks.priors.mixture import Mixture
from mrspec_prep.networks.problem import Problem


def bayes_reference(problem: Problem, prior: Mixture, n_draws=1024, seed=0) -> Summary:
    """Posterior of every voxel under a given prior, with the exact likelihood.

    No estimator has a lower mean squared error over tissue drawn from ``prior``.

    Parameters
    ----------
    problem : Problem
    prior : Mixture
        Over the ``Coordinates`` of the model: S0 first, as a logarithm; mass beyond the bound of a linear
        parameter counts at the bound.
    n_draws : int
        Per voxel.
    seed : int

    Returns
    -------
    Summary
        Columns in the order of the coordinates.

    """
    return summarise(Sampler(problem, least_squares(problem), n_draws, seed), prior)
