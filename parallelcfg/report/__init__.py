"""What a run did, as numbers, text, JSON, a picture and a trace."""

from __future__ import annotations

from parallelcfg.report.records import BatchRecord, Traffic, WorkerSummary
from parallelcfg.report.summary import Report

__all__ = ["BatchRecord", "Report", "Traffic", "WorkerSummary"]
