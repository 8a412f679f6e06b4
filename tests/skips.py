"""Under CI, a skipped test fails the run, whatever skipped it.

Runs on SQLite may skip: some tests need PostgreSQL.
"""

import os

import pytest

from tests.programs import in_ci


def _place(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return what was skipped, and why. A skipped file has no reason in a parallel run."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "skipped"
    return f"{report.nodeid}: {reason}"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the run if tests were skipped. In a parallel run, only the main process decides, which
    gets the reports of all.
    """
    config = session.config
    if hasattr(config, "workerinput") or not in_ci():
        return
    if os.environ["DATABASE_URL"].startswith("sqlite"):
        return
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if not skipped:
        return
    print("\nUnder CI, no test may be skipped:", *map(_place, skipped), sep="\n  ")
    if session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
