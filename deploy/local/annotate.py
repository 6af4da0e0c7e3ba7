#!/usr/bin/env python3
"""Shows the Hypothesis protocol on a running cluster (`make annotate`, beside `make run`).

Ben listens to a page on one gateway; Ada annotates it over HTTP, changes her mind
and deletes it; everything that Ben's socket hears is printed. Both are users made
for the occasion, with access tokens that end after an hour.
"""

from client import Socket, request, the_cluster, token_of

PAGE = "https://example.org/carillon"


def main():
    cluster = the_cluster()
    ada, ben = (token_of(cluster, name) for name in ("Ada", "Ben"))
    listening = Socket(cluster["gateways"][-1], "/ws", ben)
    clause = {"field": "/uri", "operator": "one_of", "value": [PAGE]}
    listening.say({"filter": {"match_policy": "include_any", "actions": {}, "clauses": [clause]}})
    # Answered in order: once this is, the filter holds.
    listening.say({"type": "whoami", "id": 1})
    print("Ben's socket is", listening.hear()["userid"], "and listens to", PAGE)

    annotations = cluster["api"] + "/api/annotations"
    by_ada = {"authorization": f"Bearer {ada}"}
    made = request(
        annotations,
        {
            "uri": PAGE + "/?utm_source=mail",  # the same page, by another address
            "text": "Hello, Ben",
            "permissions": {"read": ["group:__world__"]},
        },
        **by_ada,
    )
    show("Ada annotates it", listening)
    this = f"{annotations}/{made['id']}"
    request(this, {"text": "Hello again"}, method="PATCH", **by_ada)
    show("Ada changes her mind", listening)
    request(this, method="DELETE", **by_ada)
    show("Ada deletes it", listening)


def show(what, listening):
    event = listening.hear()
    (annotation,) = event["payload"]
    text = f", {annotation['text']!r}" if "text" in annotation else ""
    print(f"{what}; Ben hears: {event['options']['action']} of {annotation['id']}{text}")


if __name__ == "__main__":
    main()
