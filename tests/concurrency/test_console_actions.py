"""Forms of the console that are sent twice at the same moment."""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus

import pytest

from provisioner.console.actions import volumes
from tests.api.action_steps import address, key_of, user_of
from tests.api.volume_steps import created
from tests.concurrency.volumes_steps import at_once
from tests.conftest import Api
from volumes.audit import audit
from volumes.models import Volume

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


def test_a_volume_is_created_once(api: Api, pool: Pool) -> None:
    pool(2)
    users = [user_of("ADMIN") for _ in range(2)]
    url = address(volumes.CREATE)
    typed = {"alias": "a", "capacity": 1, "idempotency_key": key_of(users[0].get(url).text)}
    answers = at_once([partial(user.post, url, typed) for user in users])
    assert {answer.status_code for answer in answers} == {HTTPStatus.FOUND}
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert Volume.objects.count() == 1
    assert audit() == []


def test_a_volume_is_deleted_once(api: Api, pool: Pool) -> None:
    pool(2)
    users = [user_of("ADMIN") for _ in range(2)]
    url = address(volumes.DELETE, Volume.objects.get(uuid=created(api, "a")))
    answers = at_once([partial(user.post, url, {}) for user in users])
    done = [answer for answer in answers if answer.status_code == HTTPStatus.FOUND]
    refused = [answer for answer in answers if answer not in done]
    assert done
    assert all("there is no volume" in answer.text for answer in refused)
    assert not Volume.objects.exists()
    assert audit() == []
