"""Sends decisions and conversions with the stock Optimizely Python SDK.

Usage: python_sdk.py query|header VISITOR...
Needs MILLRACE_API, MILLRACE_API_KEY and MILLRACE_ACCOUNT. Prints, per visitor, the variation the SDK gave it.
"""

import json
import logging
import os
import pathlib
import sys

from optimizely import optimizely
from optimizely.event.event_factory import EventFactory
from optimizely.event.event_processor import BatchEventProcessor
from optimizely.event_dispatcher import EventDispatcher


def point_sdk_at_millrace(way):
    """The SDK has no setting for where events go; its endpoint and headers are class attributes."""
    url = os.environ["MILLRACE_API"] + "/v1/events"
    key = os.environ["MILLRACE_API_KEY"]
    if way == "query":
        url += "?access_token_query=" + key
    else:
        EventFactory.HTTP_HEADERS = {**EventFactory.HTTP_HEADERS, "X-API-Key": key}
    EventFactory.EVENT_ENDPOINTS = {"US": url, "EU": url}


class FailOnError(logging.Handler):
    """The SDK only logs a failed dispatch: remember it, so that this script can fail."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.errors = []

    def emit(self, record):
        self.errors.append(record.getMessage())


def main():
    way, visitors = sys.argv[1], sys.argv[2:]
    point_sdk_at_millrace(way)
    errors = FailOnError()
    logging.getLogger().addHandler(errors)

    datafile = json.loads((pathlib.Path(__file__).parent / "datafile.json").read_text())
    datafile["accountId"] = os.environ["MILLRACE_ACCOUNT"]
    processor = BatchEventProcessor(EventDispatcher, batch_size=10, flush_interval=1, start_on_init=True)
    client = optimizely.Optimizely(json.dumps(datafile), event_processor=processor)

    given = {}
    for visitor in visitors:
        user = client.create_user_context(visitor, {"plan": "gold"})
        decision = user.decide("checkout")
        given[visitor] = decision.variation_key
        user.track_event("purchase", {"revenue": 4200, "value": 1.5, "colour": "red"})
        user.track_event("add:to:cart")
    client.close()
    processor.stop()

    if errors.errors:
        sys.exit("the SDK reported: " + "; ".join(errors.errors))
    print(json.dumps(given))


main()
