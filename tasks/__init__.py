"""Stages: one module each, run by DVC as `python -m tasks <stage>` or by the Prefect flow in-process."""
