"""Tables, progress and the page: what people read of a run."""
