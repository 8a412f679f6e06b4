"""A job lease belongs to one worker at a time, and expires if its holder dies."""

import datetime as dt

import pytest
from django.utils import timezone

from volumes.models import JobLease
from volumes.reconcilers.job_lease import HeldLease, job_lease_acquire

pytestmark = pytest.mark.django_db(transaction=True)


def taken() -> HeldLease:
    lease = job_lease_acquire("job")
    assert lease is not None
    return lease


def let_pass(seconds: float) -> None:
    row = JobLease.objects.get()
    row.until -= dt.timedelta(seconds=seconds)
    row.save(update_fields=["until"])


def test_a_lease_is_exclusive_until_it_is_released():
    lease = taken()
    assert job_lease_acquire("job") is None
    assert job_lease_acquire("another job") is not None
    lease.release()
    taken()


def test_renewing_extends_the_lease():
    lease = taken()
    first = lease.until
    assert lease.renew()
    assert lease.until > first
    assert JobLease.objects.get().until == lease.until


def test_another_worker_can_acquire_an_expired_lease():
    lease = taken()
    let_pass(61)
    after = taken()
    assert lease.renew() is False
    lease.release()
    assert job_lease_acquire("job") is None
    assert after.renew()


def test_unbroken_since_restarts_after_a_long_pause(settings):
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"probe_interval_seconds": 60})
    before = timezone.now()
    lease = taken()
    lease.release()
    assert lease.unbroken_since >= before
    let_pass(50)
    again = taken()
    assert again.unbroken_since == lease.unbroken_since
    again.release()
    let_pass(70)
    late = taken()
    assert late.unbroken_since > again.unbroken_since
    assert JobLease.objects.get().unbroken_since == late.unbroken_since


def test_a_lease_expires_when_the_clock_steps_back():
    lease = taken()
    JobLease.objects.update(unbroken_since=lease.until)
    let_pass(-3600)
    before = timezone.now()
    after = taken()
    assert before <= after.unbroken_since <= timezone.now()
    assert after.until < timezone.now() + dt.timedelta(minutes=1)
    assert lease.renew() is False
    assert job_lease_acquire("job") is None


def test_after_a_small_step_back_a_lease_still_belongs_to_its_holder():
    taken()
    let_pass(-10)
    assert job_lease_acquire("job") is None
