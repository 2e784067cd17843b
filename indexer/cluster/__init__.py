"""Builds in units of work that any number of processes and machines share: plan, work, commit."""
