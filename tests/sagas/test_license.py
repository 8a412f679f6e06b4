"""InstallLicense passes the checks."""

import pytest

from inventory.models import License
from provisioner.access.secrets import decrypt, encrypt
from tasks.models import TaskType
from tasks.services import task_create
from tests.api.licenses import believe, issued
from tests.sagas.checks import Case, SagaChecks

pytestmark = pytest.mark.django_db(transaction=True)


class TestInstallLicense(SagaChecks):
    type = TaskType.INSTALL_LICENSE

    @pytest.fixture
    def case(self, pool, fleet, settings):
        pool(3)
        believe(settings)
        text = ""
        number = 1000

        def submit():
            nonlocal text, number
            number += 1
            text = issued(maxBackends=number)
            return task_create(type=self.type, outputs={"license": encrypt(text)}).pk

        def done():
            current = License.objects.get()
            assert (current.type, current.max_backends) == ("PRODUCTION", number)
            assert decrypt(current.encrypted_text) == text
            assert [node.agent.license.license for node in fleet.nodes[:3]] == [text] * 3

        def undone():
            assert License.objects.get().max_backends is None

        losses = [fleet.nodes[0].come_back_empty]
        return Case(submit, done, undone, losses, lambda task: done())
