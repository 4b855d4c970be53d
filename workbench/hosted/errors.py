"""What stops hosted fine-tuning."""

from __future__ import annotations


class HostedError(RuntimeError):
    """A hosted training cannot start or go on; the message says where, why, and the cure. Nothing is lost by it."""
