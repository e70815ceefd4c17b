"""How a graph is run: plugins, memory, steps that are sealed, and how it ends."""
