"""Compilation and threads, as every room of the maths uses them (``mrspec_prep.compiled``)."""

from mrspec_prep.compiled import (
    REORDERED_SUMS,
    available_threads,
    compiled,
    compiled_within,
    for_blocks,
    single_threaded_blas,
    using_threads,
)

__all__ = [
    "REORDERED_SUMS",
    "available_threads",
    "compiled",
    "compiled_within",
    "for_blocks",
    "single_threaded_blas",
    "using_threads",
]
