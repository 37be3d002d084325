"""The tables and figures of the papers and of README, each in a file of its own; `results/` has what they printed."""
