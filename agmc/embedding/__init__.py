"""ModelGraph x Plan -> one observation vector per decision."""
