"""Checking gradients: against finite differences, and against PyTorch."""
