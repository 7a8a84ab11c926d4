"""A stranger's NATS client, as one would write it: nats-py, and a URL from the environment.

    stranger.py publish SUBJECT BODY [HEADER=VALUE ...]    an event; prints `stored` or `refused`
    stranger.py procedures                                 every endpoint of every service, sorted
"""

import asyncio
import json
import os
import sys

import nats
import nats.errors


async def publish(client, subject, body, *headers):
    try:
        headers = dict(header.split("=", 1) for header in headers)
        await client.jetstream().publish(subject, body.encode(), headers=headers, timeout=2)
        print("stored")
    except nats.errors.Error as error:
        print("refused", error)


async def procedures(client):
    subjects = set()
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)
    await client.publish("$SRV.INFO", reply=inbox)
    while True:
        try:
            answer = await answers.next_msg(timeout=1)
        except nats.errors.TimeoutError:
            break
        subjects |= {endpoint["subject"] for endpoint in json.loads(answer.data)["endpoints"]}
    print("\n".join(sorted(subjects)))


async def main(command, *arguments):
    async def quiet(_):
        """A refusal is told by the answer that does not come."""

    client = await nats.connect(
        os.environ["NATS_URL"], inbox_prefix=b"_INBOX_developer", error_cb=quiet,
        allow_reconnect=False,
    )
    await {"publish": publish, "procedures": procedures}[command](client, *arguments)
    await client.close()


asyncio.run(main(*sys.argv[1:]))
