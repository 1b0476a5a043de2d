#!/usr/bin/env python3
"""Lists and reads an account's export with boto3, for longer than one credential lives.

Needs `pip install boto3 requests`, and in the environment (`source millrace-data/demo.env` sets them all):

    MILLRACE_API      where credentials come from, e.g. http://127.0.0.1:8080
    MILLRACE_BUCKET   the bucket, e.g. millrace-events
    MILLRACE_ACCOUNT  the account's id
    MILLRACE_PAT      a personal access token
    MILLRACE_S3       where the files are; or AWS_ENDPOINT_URL_S3, which boto3 knows by itself

Usage: fetch_with_boto3.py [PREFIX]     PREFIX below the account, e.g. type=decisions/date=2026-01-01/
"""

import os
import sys
from datetime import datetime, timezone

import boto3
import requests
from botocore.credentials import RefreshableCredentials
from botocore.session import get_session


class BearerAuth(requests.auth.AuthBase):
    """Sends a token with each request."""

    def __init__(self, token: str):
        self.token = token

    def __call__(self, request):
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class ExportClient:
    """An S3 client whose credentials renew themselves."""

    CREDENTIALS_URL = os.environ["MILLRACE_API"] + "/v2/export/credentials"
    BUCKET_REGION = "us-east-1"  # the gateway takes any

    def __init__(self, token: str):
        self.token = token

    def get_bucket_prefix(self, account_id: str) -> str:
        return f"v1/account_id={account_id}/"

    def get_creds(self) -> dict:
        """Asks for credentials that live for an hour, in the form the API gives them."""
        response = requests.get(
            self.CREDENTIALS_URL,
            params={"duration": "1h"},
            auth=BearerAuth(self.token),
            timeout=30,
        )
        response.raise_for_status()
        return response.json()["credentials"]

    def refreshed(self) -> dict:
        """The same in the form botocore takes them. The API says milliseconds, botocore wants ISO-8601."""
        creds = self.get_creds()
        expires = datetime.fromtimestamp(creds["expiration"] / 1000, timezone.utc)
        return {
            "access_key": creds["accessKeyId"],
            "secret_key": creds["secretAccessKey"],
            "token": creds["sessionToken"],
            "expiry_time": expires.isoformat(),
        }

    def as_boto3_s3_client(self):
        """A plain boto3 client; botocore calls `refreshed` again before the credentials end."""
        session = get_session()
        session._credentials = RefreshableCredentials.create_from_metadata(
            metadata=self.refreshed(),
            refresh_using=self.refreshed,
            method="export-credentials",
        )
        session.set_config_variable("region", self.BUCKET_REGION)
        return boto3.Session(botocore_session=session).client("s3")


def main() -> None:
    os.environ.setdefault("AWS_ENDPOINT_URL_S3", os.environ.get("MILLRACE_S3", ""))
    bucket, account = os.environ["MILLRACE_BUCKET"], os.environ["MILLRACE_ACCOUNT"]
    client = ExportClient(os.environ["MILLRACE_PAT"])
    s3 = client.as_boto3_s3_client()
    prefix = client.get_bucket_prefix(account) + (sys.argv[1] if len(sys.argv) > 1 else "")

    files = size = 0
    read = None  # the first Parquet file of the listing; the head of one shows that they can be fetched
    marker = ""
    while True:
        page = s3.list_objects(Bucket=bucket, Prefix=prefix, Marker=marker)
        for found in page.get("Contents", []):
            files, size = files + 1, size + found["Size"]
            print(f"{found['Size']:>12}  {found['Key']}")
            if read is None and found["Key"].endswith(".parquet"):
                read = found["Key"]
                head = s3.get_object(Bucket=bucket, Key=read, Range="bytes=0-3")["Body"].read()
                assert head == b"PAR1", f"{read} is no Parquet file"
        if not page["IsTruncated"]:
            break
        marker = page["Contents"][-1]["Key"]
    print(f"{files} files, {size} bytes under s3://{bucket}/{prefix}; read the head of {read or 'none'}")


if __name__ == "__main__":
    main()
