"""nn.Module -> ModelGraph: tracing, channel groups, and running a graph again."""
