"""A real S3 server: SeaweedFS on free loopback ports, in a temporary directory, gone with this process."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fmi_mpi.config import Settings

from .redis import Server, free_port

__all__ = ["BUCKET", "S3Server", "s3_settings", "shared_s3"]

BUCKET = "fmi-test"
_ATTEMPTS = 4
_PORTS = ("master", "master.port.grpc", "volume", "volume.port.grpc", "filer", "filer.port.grpc", "s3", "s3.port.grpc")
_ACTIONS = ("Admin", "Read", "Write", "List", "Tagging")


class S3Server(Server):
    """A server that keeps its data when it is restarted, with a bucket and a user with all rights."""

    key = "AKIATEST"
    secret = "a secret/of+the tests"

    deadline = 30.0

    def __init__(self) -> None:
        super().__init__()
        self._ports: dict[str, int] = {}
        users = [
            {"name": "worker", "credentials": [{"accessKey": self.key, "secretKey": self.secret}], "actions": _ACTIONS},
            {"name": "weak", "credentials": [{"accessKey": "AKIAWEAK", "secretKey": "weak"}], "actions": []},
        ]
        (self.directory / "users.json").write_text(json.dumps({"identities": users}))
        self._start_somewhere()
        self.client().create_bucket(Bucket=BUCKET)

    def _start_somewhere(self) -> None:
        """Start on free ports, on others if somebody else has taken one meanwhile."""
        for attempt in range(_ATTEMPTS):
            taken: set[int] = set()
            while len(taken) < len(_PORTS):
                taken.add(free_port())
            self._ports = dict(zip((name if "." in name else f"{name}.port" for name in _PORTS), taken))
            try:
                self.start()
                return
            except AssertionError:
                if attempt == _ATTEMPTS - 1:
                    raise

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3.port']}"

    def url(self, rest: str = "") -> str:
        """Return a channel's URL."""
        return f"s3://{BUCKET}/{rest}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the SDK's own chain finds the credentials."""
        return {
            "FMI_AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _command(self) -> Sequence[str]:
        program = Path(sys.executable).parent / "weed"
        command = [str(program), "server", f"-dir={self.directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
        command += [f"-{name}={port}" for name, port in self._ports.items()]
        command += [f"-s3.config={self.directory}/users.json", "-master.volumeSizeLimitMB=100", "-volume.max=50"]
        command += ["-master.electionTimeout=500ms", "-master.heartbeatInterval=100ms"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", "-master.telemetry=false"]
        return command

    def _answers(self) -> bool:
        """It can store something, that is, all of its parts have found each other."""
        address = f"http://127.0.0.1:{self._ports['filer.port']}/ready"
        try:
            with urllib.request.urlopen(urllib.request.Request(address, b"x", method="PUT"), timeout=2):
                pass
            with urllib.request.urlopen(self.endpoint, timeout=2):
                return True
        except urllib.error.HTTPError as error:
            return error.code == 403
        except OSError:
            return False

    def client(self) -> Any:
        """Return a client of the SDK."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
        )

    def names(self, prefix: str = "") -> list[str]:
        """Return the keys of all objects."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [thing["Key"] for page in pages for thing in page.get("Contents", ())]


def s3_settings(server: S3Server, rest: str, **variables: str) -> Settings:
    """Return the settings of a rank that uses this server, whose credentials the SDK finds in the environment."""
    os.environ.update({name: text for name, text in server.environment.items() if name.startswith("AWS_")})
    own = {"FMI_CHANNELS": server.url(rest), "FMI_AWS_ENDPOINT_URL": server.endpoint}
    return Settings({**own, **variables})


@cache
def shared_s3() -> S3Server:
    """Return a server for all tests that do it no harm."""
    return S3Server()
