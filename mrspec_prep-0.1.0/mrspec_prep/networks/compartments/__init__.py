"""How many compartments a signal holds: simulation, what is possible at all, networks."""
