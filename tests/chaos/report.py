"""A run's result as text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from statistics import median

from tests.chaos.faults import FAULTS
from tests.chaos.history import Strike
from tests.chaos.run import Report

MOST_SHOWN = 20


def lines(report: Report) -> Iterator[str]:
    """Strikes by kind, what was acknowledged and lost, and the processes' use of the machine."""
    verdict = report.verdict
    by_kind: dict[str, list[Strike]] = defaultdict(list)
    for strike in report.strikes:
        by_kind[strike.kind].append(strike)
    yield f"{'fault':26} {'struck':>6} {'lasted':>8} {'served after':>13}   (medians, s)"
    for kind in FAULTS:
        if of := by_kind.get(kind):
            lasted = median(s.healed - s.begun for s in of)
            served = median(s.recovered - s.healed for s in of)
            yield f"{kind:26} {len(of):6} {lasted:8.2f} {served:13.2f}"
    yield ""
    yield f"seed {report.seed}, {report.seconds:.0f} s, {len(report.strikes)} strikes of {len(by_kind)} kinds"
    yield f"publishes acknowledged {verdict.acknowledged}, without an answer {verdict.unknown}"
    yield (
        f"indexed lost as allowed {sum(verdict.lost.values())}, acknowledged at most "
        f"{verdict.lost_span_s:.2f} s before the strike: {verdict.lost}"
    )
    yield (
        f"deliveries {verdict.deliveries}, redelivered {verdict.redelivered}, "
        f"completed twice {verdict.completed_again}, published twice {verdict.published_again}"
    )
    yield f"slowest answer {report.slowest_s:.1f} s; refusals {report.codes}"
    yield from _usage(report)
    for violation in verdict.violations[:MOST_SHOWN]:
        yield f"VIOLATED {violation.invariant}: {violation.what}"
    if len(verdict.violations) > MOST_SHOWN:
        yield f"and {len(verdict.violations) - MOST_SHOWN} more"
    if verdict.violations:
        yield f"history: {report.history}"
    else:
        yield "every invariant holds"


def _usage(report: Report) -> Iterator[str]:
    for number in range(2):
        used = [s.apis[number] for s in report.samples if s.apis[number] is not None]
        if used:
            rss = [one.rss_kib // 1024 for one in used if one]
            files = [one.descriptors for one in used if one]
            quarter = max(1, len(rss) // 4)
            yield (
                f"api {number + 1}: memory {max(rss[:quarter])} MiB in the first quarter, "
                f"{max(rss[-quarter:])} in the last; "
                f"descriptors {max(files[:quarter])}, {max(files[-quarter:])}"
            )
