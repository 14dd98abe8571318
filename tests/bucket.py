"""A bucket of the tests' own S3 server."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def bucket(server: str) -> Iterator[str]:
    """URL of an empty bucket, which this process and those it starts may write to."""
    import boto3
    import s3fs

    settings = {"AWS_ENDPOINT_URL": server, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**settings, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # an instance keeps the credentials of its first use
        name = f"bucket-{uuid.uuid4().hex[:8]}"
        boto3.client("s3").create_bucket(Bucket=name)
        yield f"s3://{name}"
        s3fs.S3FileSystem.clear_instance_cache()
