"""What a container uses, in the words of the engine and in ours."""

from __future__ import annotations

from typing import Any


def note_usage(report: dict[str, Any], stats: dict[str, Any]) -> None:
    """Put what the engine says into a report: CPU seconds, and bytes of memory without the page cache.

    Format: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerStats
    """
    cpu = stats.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage") or 0
    memory = stats.get("memory_stats", {})
    details = memory.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    used = max(0, (memory.get("usage") or 0) - cache)
    report["cpu_s"] = max(report.get("cpu_s", 0.0), cpu / 1e9)
    report["max_rss_bytes"] = max(report.get("max_rss_bytes", 0), used)
