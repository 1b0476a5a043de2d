#!/usr/bin/env python3
"""Sends events with the stock Optimizely Python SDK (pip install optimizely-sdk) to Millrace.

    source millrace-data/demo.env
    python3 examples/send_events.py path/to/datafile.json

The SDK has no setting for where events go: its endpoints are class attributes. The data file's accountId must be the
account of the key.
"""

import os
import sys

from optimizely import optimizely
from optimizely.event.event_factory import EventFactory


def main():
    url = os.environ["MILLRACE_API"] + "/v1/events?access_token_query=" + os.environ["MILLRACE_API_KEY"]
    EventFactory.EVENT_ENDPOINTS = {"US": url, "EU": url}

    with open(sys.argv[1]) as datafile:
        client = optimizely.Optimizely(datafile.read())
    visitor = client.create_user_context("visitor-1")
    for key in client.get_optimizely_config().features_map:
        print(key, visitor.decide(key).variation_key)
    visitor.track_event("purchase", {"revenue": 4200})
    client.close()


main()
