"""A real server of an object store (S3's API), and what clients of it find in their environment."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from socket import create_server
from typing import Any

from tests.support.live_network import until

BUCKET = "captures"


@contextmanager
def object_store() -> Iterator[dict[str, str]]:
    """Run one with an empty bucket; give the environment that leads to it."""
    with closing(create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: _answers(url), "the object store")
            environment = {
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": "who",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            client_of(environment).create_bucket(Bucket=BUCKET)
            yield environment
        finally:
            server.kill()


def client_of(environment: dict[str, str]) -> Any:
    """Give a client, to put objects there by."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    )


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{url}/moto-api/", timeout=5) as answer:
        return bool(answer.status == 200)
    return False
