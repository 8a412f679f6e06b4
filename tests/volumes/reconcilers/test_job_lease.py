"""One worker at a time: who has the turn, and what becomes of it when its holder dies."""

import datetime as dt

import pytest
from django.utils import timezone

from volumes.models import Turn
from volumes.reconcilers.job_lease import TakenTurn, turn_take

pytestmark = pytest.mark.django_db(transaction=True)


def taken() -> TakenTurn:
    turn = turn_take("job")
    assert turn is not None
    return turn


def let_pass(seconds: float) -> None:
    row = Turn.objects.get()
    row.until -= dt.timedelta(seconds=seconds)
    row.save(update_fields=["until"])


def test_one_has_it_until_the_end():
    turn = taken()
    assert turn_take("job") is None
    assert turn_take("another job") is not None
    turn.end()
    taken()


def test_one_that_is_kept_lasts():
    turn = taken()
    first = turn.until
    assert turn.keep()
    assert turn.until > first
    assert Turn.objects.get().until == turn.until


def test_that_of_the_dead_is_free_in_the_end():
    turn = taken()
    let_pass(61)
    after = taken()
    assert turn.keep() is False
    turn.end()
    assert turn_take("job") is None
    assert after.keep()


def test_since_when_it_is_done_without_a_break(settings):
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"probe_interval_seconds": 60})
    before = timezone.now()
    turn = taken()
    turn.end()
    assert turn.unbroken_since >= before
    let_pass(50)
    again = taken()
    assert again.unbroken_since == turn.unbroken_since
    again.end()
    let_pass(70)
    late = taken()
    assert late.unbroken_since > again.unbroken_since
    assert Turn.objects.get().unbroken_since == late.unbroken_since
