"""Compressed networks as files: checkpoint and ONNX."""
