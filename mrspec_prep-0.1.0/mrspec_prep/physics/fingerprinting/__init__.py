"""MR fingerprinting: schedule of the frames and the signal of tissue under it. Arrays in, arrays out."""

from mrspec_prep.physics.fingerprinting.default_schedule import fisp_schedule
from mrspec_prep.physics.fingerprinting.epg import simulate_fisp
from mrspec_prep.physics.fingerprinting.schedule import Schedule

__all__ = ["Schedule", "fisp_schedule", "simulate_fisp"]
