"""docs/reference/data-model.md matches the models."""

from provisioner.management.commands.data_model import PAGE, page
from tests.pages import ROOT


def test_the_page_is_current() -> None:
    assert (ROOT / PAGE).read_text() == page(), "run make diagrams"
