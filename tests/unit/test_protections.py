"""What `make protections` takes out of the source has to stand there, or it would show nothing."""

from __future__ import annotations

import pytest

from tests.protections import PROTECTIONS, REPOSITORY, Protection


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda protection: protection.name)
def test_a_protection_stands_in_the_source_once(protection: Protection) -> None:
    text = (REPOSITORY / protection.file).read_text(encoding="utf-8")
    assert text.count(protection.source) == 1
    assert (REPOSITORY / protection.test.partition("::")[0]).exists()
