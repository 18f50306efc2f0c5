"""A small simulated world, told in English and Chinese; every text has a known probability."""

from lib.course.storyworld.verifier import Report, verify
from lib.course.storyworld.world import VERSION, Story, World

__all__ = ["VERSION", "Report", "Story", "World", "verify"]
