"""The provisioner; its version is told here, and nowhere else."""

__version__ = "1.0.0"
