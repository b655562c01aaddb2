from __future__ import annotations

import pytest
from fake_aws import FakeClock, FakeS3, rule


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def source(clock: FakeClock) -> FakeS3:
    """A bucket with a replication rule."""
    s3 = FakeS3(clock)
    s3.rules = [rule()]
    return s3


@pytest.fixture
def replica(clock: FakeClock) -> FakeS3:
    return FakeS3(clock)
