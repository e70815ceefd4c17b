"""InSpect over many participants: one set of spectra, several protocols and sites."""

from mrspec_prep.spectra.group.atlas import AtlasResult, apply_atlas
from mrspec_prep.spectra.group.components import GroupMapResult, fit_group_map, weights_of
from mrspec_prep.spectra.group.fit import GroupResult, GroupSelection, fit_group, responsibilities_of, select_group
from mrspec_prep.spectra.group.members import Member, Protocol, truncated
from mrspec_prep.spectra.group.passes import Sent, Statistics, ThreadExecutor, member_statistics
from mrspec_prep.spectra.group.prepared import PreparedMember, prepare_member

__all__ = [
    "AtlasResult",
    "GroupMapResult",
    "GroupResult",
    "GroupSelection",
    "Member",
    "PreparedMember",
    "Protocol",
    "Sent",
    "Statistics",
    "ThreadExecutor",
    "apply_atlas",
    "fit_group",
    "fit_group_map",
    "member_statistics",
    "prepare_member",
    "responsibilities_of",
    "select_group",
    "truncated",
    "weights_of",
]
