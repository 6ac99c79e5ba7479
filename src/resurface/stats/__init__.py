"""Statistics that know nothing of models: intervals, exact counts, adjustment for multiplicity."""
