"""docs/explanation/data-model.md is what the models are now."""

from provisioner.management.commands.data_model import PAGE, page
from tests.pages import ROOT


def test_the_page_is_current() -> None:
    assert (ROOT / PAGE).read_text() == page(), "run make diagrams"
