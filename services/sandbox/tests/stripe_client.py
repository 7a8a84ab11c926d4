"""Stripe's own client against the sandbox.

`client BASE KEY` calls the API; `verify SECRET…` checks webhooks from standard input, one JSON
object {"payload", "header"} a line.
"""

import json
import sys

import stripe

ITEM = {
    "price_data": {"currency": "usd", "unit_amount": 1050, "product_data": {"name": "Widget"}},
    "quantity": 2,
}


def refused(kind, code, call, *arguments, **params):
    """The call ends with this class of the client's errors, and this code."""
    try:
        call(*arguments, **params)
    except kind as error:
        assert error.code == code, (error.code, code)
        return str(error)
    raise AssertionError(f"{call} with {arguments} {params} was not refused")


def client(base, key):
    api = stripe.StripeClient(key, base_addresses={"api": base}, max_network_retries=0).v1
    sessions, refunds = api.checkout.sessions, api.refunds
    params = {
        "mode": "payment", "line_items": [ITEM, ITEM], "success_url": "https://shop.example/ok",
        "client_reference_id": "ORD-1", "metadata": {"order_id": "ORD-1"},
        "payment_intent_data": {"metadata": {"order_id": "ORD-1"}},
    }
    once = {"idempotency_key": "saga/1/0"}

    made = sessions.create(params=params, options=once)
    assert (made.amount_total, made.currency, made.status) == (4200, "usd", "open"), made
    assert made.payment_status == "unpaid" and made.url and made.metadata["order_id"] == "ORD-1"
    assert sessions.create(params=params, options=once).id == made.id
    other = {**params, "client_reference_id": "ORD-2"}
    refused(stripe.IdempotencyError, None, sessions.create, params=other, options=once)
    unknown = {**params, "colour": "red"}
    refused(stripe.InvalidRequestError, "parameter_unknown", sessions.create, params=unknown)
    no_items = {**params, "line_items": []}
    refused(stripe.InvalidRequestError, "parameter_missing", sessions.create, params=no_items)

    assert sessions.retrieve(made.id).id == made.id
    refused(stripe.InvalidRequestError, "resource_missing", sessions.retrieve, "cs_none")
    assert sessions.expire(made.id).status == "expired"
    message = refused(stripe.InvalidRequestError, None, sessions.expire, made.id)
    assert "status of `expired`" in message, message

    refund = {"payment_intent": "pi_signed_by_a_test", "amount": 4200}
    made = refunds.create(params=refund, options={"idempotency_key": "saga/1/1"})
    assert (made.amount, made.status) == (4200, "succeeded"), made
    again = refunds.create(params=refund, options={"idempotency_key": "saga/1/1"})
    assert again.id == made.id
    twice = {"idempotency_key": "saga/1/2"}
    refused(
        stripe.InvalidRequestError, "charge_already_refunded", refunds.create,
        params=refund, options=twice,
    )
    listed = refunds.list(params={"payment_intent": "pi_signed_by_a_test"})
    assert [it.id for it in listed.auto_paging_iter()] == [made.id]

    wrong = stripe.StripeClient("sk_wrong", base_addresses={"api": base}).v1.refunds
    refused(stripe.AuthenticationError, None, wrong.create, params=refund)


def verify(secrets):
    for line in sys.stdin:
        webhook = json.loads(line)
        for secret in secrets:
            stripe.Webhook.construct_event(webhook["payload"], webhook["header"], secret)
        try:
            stripe.Webhook.construct_event(webhook["payload"], webhook["header"], "whsec_other")
        except stripe.SignatureVerificationError:
            continue
        raise AssertionError("a foreign secret verified")


if __name__ == "__main__":
    mode, *arguments = sys.argv[1:]
    client(*arguments) if mode == "client" else verify(arguments)
