import asyncio, os, nats

async def main():
    client = await nats.connect(os.environ["NATS_URL"])
    await client.jetstream().publish(
        "notifications.trigger.parcel-opened", b'{"number":"P-1"}',
        headers={"Nats-Msg-Id": "P-1/opened"})
    await client.close()

asyncio.run(main())
