"""The fixtures of the end-to-end tests, for programs that are watched for long."""

from tests.e2e.conftest import launch, models_dir

__all__ = ["launch", "models_dir"]
