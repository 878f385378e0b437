"""The programs of the end-to-end tests, watched for long."""

from tests.e2e.conftest import launch

__all__ = ["launch"]
