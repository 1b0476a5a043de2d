#!/usr/bin/env python3
"""Exchanges the personal access token for S3 credentials of one hour, and prints them as a shell's export lines.

    source millrace-data/demo.env
    eval "$(python3 examples/aws_credentials.py)"
    aws s3 ls "$S3_PATH"

Needs MILLRACE_API, MILLRACE_PAT and MILLRACE_S3 (demo.env has them) and nothing but Python.
"""

import json
import os
import shlex
import urllib.request


def main():
    request = urllib.request.Request(
        os.environ["MILLRACE_API"] + "/v2/export/credentials?duration=1h",
        headers={"Authorization": "Bearer " + os.environ["MILLRACE_PAT"]},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        answer = json.load(response)
    credentials = answer["credentials"]
    exports = {
        "AWS_ACCESS_KEY_ID": credentials["accessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["secretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["sessionToken"],
        "AWS_ENDPOINT_URL_S3": os.environ["MILLRACE_S3"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "S3_PATH": answer["s3Path"],
    }
    for name, value in exports.items():
        print(f"export {name}={shlex.quote(value)}")


main()
