//! The three scenarios as a person types them: bash and curl, with the addresses, the tokens and
//! the secrets of the environment.

use std::process::Command;
use system_tests::{Failure, shared::system};

/// What the scenarios share. A provider signs its webhooks; `signed` does it with `openssl`.
const BEGIN: &str = r#"
set -euo pipefail
runtime=http://$FERMATA_HTTP_ADDR orders=http://$ORDER_HTTP_ADDR
payments=http://$PAYMENT_HTTP_ADDR deliveries=http://$DELIVERY_HTTP_ADDR
as_viewer=(-H "Authorization: Bearer $FERMATA_VIEWER_TOKEN")
as_approver=(-H "Authorization: Bearer $FERMATA_APPROVER_TOKEN")
json=(-H 'Content-Type: application/json')
field() { sed -nE 's/.*"'$1'":"?([^",}]*).*/\1/p'; }
order() { curl -sS $orders/api/orders/$ORDER "${as_viewer[@]}"; }
reaches() {
  for ((look = 0; look < 600; look++)); do
    if order | grep -q "\"orderId\":\"$ORDER\",\"status\":\"$1\""; then
      echo "reached $1"
      return
    fi
    sleep 0.1
  done
  echo "not $1 but: $(order)"; exit 1
}
hmac() { printf '%s' "$2" | openssl dgst -sha256 -hmac "$1" | sed 's/.*= //'; }
create() { curl -sS -X POST $orders/api/orders "${json[@]}" -d "$1" | field orderId; }
WHO='"customer":{"name":"Bob","email":"bob@example.com"},
  "shippingAddress":{"street":"Main Street 1","city":"Springfield","zip":"12345","country":"US"}'
payment_webhook() {  # TYPE PAYMENT_STATUS
  local session at body
  session=$(order | field paymentSessionId) at=$(date +%s)
  body='{"id":"evt_'$ORDER$1'","object":"event","type":"'$1'","data":{"object":{"id":"'$session'",
    "object":"checkout.session","client_reference_id":"'$ORDER'","payment_status":"'$2'",
    "payment_intent":"pi_'$ORDER'","amount_total":10000,"currency":"usd"}}}'
  curl -sS -X POST $payments/webhooks/stripe -o /dev/null -w 'webhook %{http_code}\n' \
    -H "Stripe-Signature: t=$at,v1=$(hmac "${STRIPE_WEBHOOK_SECRET%%,*}" "$at.$body")" -d "$body"
}
delivery_webhook() {  # STATUS
  local at body
  at=$(date +%s) body='{"orderId":"'$ORDER'","status":"'$1'"}'
  curl -sS -X POST $deliveries/webhooks/courier -o /dev/null -w 'webhook %{http_code}\n' \
    -H "X-Timestamp: $at" \
    -H "X-Signature: sha256=$(hmac "${COURIER_WEBHOOK_SECRET%%,*}" "$at.$body")" -d "$body"
}
"#;

const NORMAL: &str = r#"
ORDER=$(create '{"items": [{"sku":"WIDGET-001","quantity":2,"price":50}], "total": 100,
  '"$WHO"'}')
reaches awaiting_payment
echo "risk $(order | field riskScore)"
payment_webhook checkout.session.completed paid
reaches shipped
delivery_webhook delivered
reaches completed
"#;

const RISKY: &str = r#"
ORDER=$(create '{"items": [{"sku":"WIDGET-001","quantity":1000,"price":50}], "total": 50000,
  "newCustomer": true, '"$WHO"'}')
reaches awaiting_approval
curl -sS "$runtime/api/tasks?limit=200" "${as_viewer[@]}" | grep -c "\"key\":\"$ORDER\""
curl -sS -X POST $orders/api/orders/approve "${as_approver[@]}" "${json[@]}" \
  -d '{"orderId": "'$ORDER'", "approved": true}' -w ' %{http_code}\n'
reaches awaiting_payment
"#;

const FAILED: &str = r#"
ORDER=$(create '{"items": [{"sku":"WIDGET-001","quantity":2,"price":50}], "total": 100,
  '"$WHO"'}')
reaches awaiting_payment
payment_webhook checkout.session.async_payment_failed unpaid
reaches cancelled
for ((look = 0; look < 300; look++)); do
  if ls $NOTIFICATION_SPOOL_DIR/order_cancelled.$ORDER@* > /dev/null 2>&1; then
    echo "mail is there"
    break
  fi
  sleep 0.1
done
"#;

async fn types(scenario: &str) -> Result<Vec<String>, Failure> {
    let (stack, _) = system().await?;
    let script = format!("{BEGIN}\n{scenario}");
    let mut command = Command::new("bash");
    command.args(["-c", &script]).envs(stack.env());
    let ended = tokio::task::spawn_blocking(move || command.output()).await;
    let ended = ended.map_err(|err| err.to_string())?.map_err(|err| err.to_string())?;
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    let is_well = ended.status.success() && ended.stderr.is_empty();
    if is_well {
        return Ok(said.lines().map(str::to_owned).collect());
    }
    Err(format!("{said}\n{}", String::from_utf8_lossy(&ended.stderr)))
}

#[tokio::test]
async fn line_25_a_normal_order_goes_by_the_curl_lines() -> Result<(), Failure> {
    let expected = [
        "reached awaiting_payment",
        "risk 30",
        "webhook 200",
        "reached shipped",
        "webhook 200",
        "reached completed",
    ];
    assert_eq!(types(NORMAL).await?, expected);
    Ok(())
}

#[tokio::test]
async fn line_25_a_risky_order_goes_by_the_curl_lines() -> Result<(), Failure> {
    let said = types(RISKY).await?;
    assert_eq!(said[..2], ["reached awaiting_approval", "1"]);
    assert!(said[2].ends_with("\"approved\":true} 202"), "{said:?}");
    assert_eq!(said[3..], ["reached awaiting_payment"]);
    Ok(())
}

#[tokio::test]
async fn line_25_an_order_whose_payment_fails_goes_by_the_curl_lines() -> Result<(), Failure> {
    let expected =
        ["reached awaiting_payment", "webhook 200", "reached cancelled", "mail is there"];
    assert_eq!(types(FAILED).await?, expected);
    Ok(())
}
