"""Hosted fine-tuning: a linted file goes to a provider, a job is started once and followed to its end.

What it may cost is agreed on before anything is sent, and every step is on record before the next begins:
a killed run finds its file and its job again and never pays twice.
"""

from __future__ import annotations

from .bill import Purse, TrainingBill, bills_text, total_usd, training_bill
from .errors import HostedError
from .job import DONE, begun, follow, job_key, running, start
from .service import Service
from .upload import Upload, check_upload, make_upload

__all__ = [
    "DONE",
    "HostedError",
    "Purse",
    "Service",
    "TrainingBill",
    "Upload",
    "begun",
    "bills_text",
    "check_upload",
    "follow",
    "job_key",
    "make_upload",
    "running",
    "start",
    "total_usd",
    "training_bill",
]
