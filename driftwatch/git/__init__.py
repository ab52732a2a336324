"""Repositories: mirrors, discovery of stacks, checkouts; and where a person's directory stands."""

from driftwatch.git.discovery import RootModule
from driftwatch.git.listing import Entry, Listing, is_lfs_pointer
from driftwatch.git.mirror import Fetched, Mirror
from driftwatch.git.working_copy import WorkingCopy, describe

__all__ = [
    "Entry",
    "Fetched",
    "Listing",
    "Mirror",
    "RootModule",
    "WorkingCopy",
    "describe",
    "is_lfs_pointer",
]
