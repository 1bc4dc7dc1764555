"""ModelGraph x Plan -> Cost, in closed form."""
