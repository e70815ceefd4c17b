"""Settings of the group level: one set of spectra for all participants."""

from dataclasses import dataclass

from mrspec_prep.options.checks import (
    OptionsError,
    candidates_of,
    check_candidates,
    check_choice,
    check_integer,
    check_n_components,
    check_number,
)


@dataclass(frozen=True)
class GroupOptions:
    """Spectra common to all participants, the maps they give each of them, and how participants are compared."""

    n_clusters: int | tuple[int, int] = (2, 10)  #: number of clusters, or the range to choose from
    criterion: str = "bic"  #: ``bic`` or ``aic``
    alpha: float = 0.01  #: Tikhonov weight of the cluster spectra, unitless
    scale: str = "profiled"  #: voxel scale: ``profiled`` (fitted), or ``fixed`` (signals already normalised)
    #: ``member`` (proportions of its own for every series, around those of all) or ``shared`` (one set for all)
    proportions: str = "member"
    site_gains: bool = True  #: one factor per site on all its signals, fitted
    n_starts: int = 20  #: short EM runs from which the best continues
    max_steps: int = 500  #: EM steps at most
    n_components: int = 0  #: components of the joint continuous fit; 0: not computed
    #: cluster spectra (``.h5``) of an earlier fit that are kept as they are, so that participants are only mapped to
    #: them; empty: the spectra are fitted
    frozen: str = ""
    #: column of ``participants.tsv`` whose groups are compared; empty: ``group`` where there is one
    compare: str = ""
    checkpoint_steps: int = 10  #: EM steps between two checkpoints in the work directory

    def __post_init__(self):
        check_candidates("group", self.n_clusters)
        check_choice("group", "criterion", self.criterion, ("bic", "aic"))
        check_number("group", "alpha", self.alpha, 0)
        check_choice("group", "scale", self.scale, ("profiled", "fixed"))
        check_choice("group", "proportions", self.proportions, ("member", "shared"))
        if not isinstance(self.site_gains, bool):
            raise OptionsError(f"group.site_gains must be true or false, got {self.site_gains!r}")
        for key in ("n_starts", "max_steps", "checkpoint_steps"):
            check_integer("group", key, getattr(self, key), 1)
        check_n_components("group", self.n_components)
        for key in ("frozen", "compare"):
            if not isinstance(getattr(self, key), str):
                raise OptionsError(f"group.{key} must be text, got {getattr(self, key)!r}")
        if self.frozen and self.n_components:
            raise OptionsError(
                f"group.frozen keeps the spectra of {self.frozen}, and group.n_components = {self.n_components} asks "
                "for spectra to be fitted: set one of them"
            )

    @property
    def candidates(self):
        """Numbers of clusters to fit."""
        return candidates_of(self.n_clusters)
