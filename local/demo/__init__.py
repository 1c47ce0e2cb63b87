"""`python -m local demo`: the main job, seen on one machine."""

from local.demo.command import demo

__all__ = ["demo"]
