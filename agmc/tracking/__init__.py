"""Tracking: curves of a run, kept by TensorBoard or MLflow as it goes on."""
