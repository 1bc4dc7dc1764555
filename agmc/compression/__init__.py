"""nn.Module x Plan -> a new, smaller nn.Module."""
