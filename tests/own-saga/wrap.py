import asyncio, json, os, sqlite3, nats

async def main():
    db = sqlite3.connect("target/wrapped.db", isolation_level=None)
    db.execute("create table if not exists wrapped (key text primary key, number text)")
    client = await nats.connect(os.environ["NATS_URL"])
    async def wrap(asked):
        key, number = asked.headers["Idempotency-Key"], json.loads(asked.data)["number"]
        if number.startswith("LOST"):
            no = b'{"code":"lost","reason":"there is no such parcel"}'
            return await client.publish(asked.reply, no, headers={"Fermata-Outcome": "rejected"})
        db.execute("insert or ignore into wrapped values (?, ?)", [key, number])  # once per key
        await asked.respond(b'{"paper":"red"}')
    await client.subscribe("own.wrap-parcel", queue="wrap", cb=wrap)
    await asyncio.Event().wait()

asyncio.run(main())
