use super::*;

#[tokio::test]
async fn an_order_is_placed_shown_and_told() {
    let door = open().await;
    let placed = door.post("/api/orders", &[], &order().to_string()).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let id = placed.body["orderId"].as_str().unwrap().to_owned();
    assert_eq!(placed.location, Some(format!("/api/orders/{id}")));
    assert_eq!(placed.body["status"], "pending");
    assert_eq!(placed.body["history"][0]["status"], "pending");
    assert_eq!(placed.body["newCustomer"], false);
    assert_eq!(
        (&placed.body["currency"], &placed.body["total"]),
        (&json!("USD"), &json!("100.00"))
    );
    assert_eq!(placed.body["refunds"], json!([]));
    assert_eq!(door.get(&format!("/api/orders/{id}")).await, (200, placed.body.clone()));
    let events = door.close().await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["subject"], "orders.trigger.created");
    assert_eq!(events[0]["key"], id.as_str());
    assert_eq!(events[0]["id"], format!("{id}/created"));
    assert_eq!(events[0]["body"], placed.body);
}

#[tokio::test]
async fn amounts_come_as_numbers_or_strings_and_go_out_with_all_decimals() {
    let door = open().await;
    let body = order().to_string().replace("\"40.00\"", "40").replace("\"100.00\"", "100.0");
    let placed = door.post("/api/orders", &[], &body).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    assert_eq!(placed.body["total"], "100.00");
    assert_eq!(placed.body["items"][0]["price"], "40.00");
    // As many digits as can be charged.
    let mut large = order();
    large["items"] = json!([{ "sku": "A", "quantity": 1, "price": "9999999999.99" }]);
    large["currency"] = json!("IDR");
    large["total"] = json!("9999999999.99");
    let large = large.to_string().replace("\"9999999999.99\"", "9999999999.99");
    let placed = door.post("/api/orders", &[], &large).await;
    assert_eq!((placed.status, &placed.body["total"]), (201, &json!("9999999999.99")));
    door.close().await;
}

#[tokio::test]
async fn a_key_places_one_order_and_another_body_is_refused() {
    let door = open().await;
    let key = [("Idempotency-Key", "basket-1")];
    let body = order().to_string();
    let first = door.post("/api/orders", &key, &body).await;
    let again = door.post("/api/orders", &key, &body).await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.body, again.body);
    assert_eq!(first.location, again.location);
    let mut other = order();
    other["customer"]["name"] = json!("Yan");
    let other = door.post("/api/orders", &key, &other.to_string()).await;
    assert_eq!((other.status, &other.body["status"]), (422, &json!(422)));
    let long = door.post("/api/orders", &[("Idempotency-Key", &"x".repeat(256))], &body).await;
    assert_eq!(long.status, 400);
    // A body that was refused leaves the key free.
    let fresh = [("Idempotency-Key", "basket-2")];
    assert_eq!(door.post("/api/orders", &fresh, "{}").await.status, 422);
    assert_eq!(door.post("/api/orders", &fresh, &body).await.status, 201);
    let keyless = door.post("/api/orders", &[], &body).await;
    assert_ne!(keyless.body["orderId"], first.body["orderId"]);
    assert_eq!(door.close().await.len(), 3);
}

#[tokio::test]
async fn bad_orders_get_the_field_that_is_wrong_and_leave_nothing() {
    let door = open().await;
    let with = |pointer: &str, value: Value| {
        let mut body = order();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[name] = value;
        body.to_string()
    };
    let item = |field: &str, value: Value| {
        let mut body = order();
        body["items"][0][field] = value;
        body.to_string()
    };
    let checks = [
        ("{".to_owned(), 400, ""),
        (String::new(), 400, ""),
        ("[]".to_owned(), 422, ""),
        (with("/total", json!("99.99")), 422, "/total"),
        (with("/total", json!("-100.00")), 422, "/total"),
        (with("/total", json!("1e2")), 422, "/total"),
        (with("/items", json!([])), 422, "/items"),
        (with("/items", json!("none")), 422, "/items"),
        (with("/coupon", json!(1)), 422, "/coupon"),
        (with("/currency", json!("XXX")), 422, "/currency"),
        (with("/customer/email", json!("nobody")), 422, "/customer/email"),
        (with("/customer/age", json!(5)), 422, "/customer/age"),
        (with("/shippingAddress/zip", Value::Null), 422, "/shippingAddress/zip"),
        (with("/newCustomer", json!("yes")), 422, "/newCustomer"),
        (item("quantity", json!(-1)), 422, "/items/0/quantity"),
        (item("quantity", json!(0)), 422, "/items/0/quantity"),
        (item("quantity", json!(1.5)), 422, "/items/0/quantity"),
        (item("price", json!("40.001")), 422, "/items/0/price"),
        (item("sku", json!("a b/../c")), 422, "/items/0/sku"),
    ];
    for (body, status, pointer) in checks {
        let answer = door.post("/api/orders", &[], &body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        let errors = answer.body["errors"].as_array().unwrap();
        if status == 422 {
            let pointers: Vec<_> =
                errors.iter().map(|it| it["pointer"].as_str().unwrap()).collect();
            assert_eq!(pointers, [pointer], "{body}: {answer:?}");
        }
        assert!(!answer.body.to_string().contains("zoe@example.com"));
    }
    let form = door.client.post(format!("{}/api/orders", door.base)).body(order().to_string());
    assert_eq!(form.send().await.unwrap().status(), 415);
    let huge = door.post("/api/orders", &[], &"x".repeat(3 << 20)).await;
    assert_eq!(huge.status, 413);
    let (_, page) = door.get("/api/orders").await;
    assert_eq!(page, json!({ "items": [], "next": null }));
    assert_eq!(door.close().await, [] as [Value; 0]);
}

#[tokio::test]
async fn orders_are_listed_newest_first_in_pages() {
    let door = open().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let placed = door.post("/api/orders", &[], &order().to_string()).await;
        ids.insert(0, placed.body["orderId"].clone());
        // Two of one millisecond would be ordered by their ids.
        let placed_at = chrono::Utc::now().timestamp_millis();
        while chrono::Utc::now().timestamp_millis() == placed_at {
            tokio::task::yield_now().await;
        }
    }
    let (mut seen, mut path) = (Vec::new(), "/api/orders?limit=2".to_owned());
    loop {
        let (status, page) = door.get(&path).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(page["items"].as_array().unwrap().iter().map(|it| it["orderId"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/orders?limit=2&cursor={next}");
    }
    assert_eq!(seen, ids);
    let (_, pending) = door.get("/api/orders?status=pending").await;
    assert_eq!(pending["items"].as_array().unwrap().len(), 5);
    let (_, paid) = door.get("/api/orders?status=paid").await;
    assert_eq!(paid["items"], json!([]));
    for path in ["?status=none", "?cursor=../x", "?limit=0", "?colour=red"] {
        let (status, problem) = door.get(&format!("/api/orders{path}")).await;
        assert_eq!(status, 422, "{path}: {problem}");
    }
    door.close().await;
}

#[tokio::test]
async fn reads_need_a_viewer_and_unknown_things_are_404() {
    let door = open().await;
    for path in ["/api/orders", "/api/orders/x", "/api/tickets?orderId=x"] {
        let answer = door.client.get(format!("{}{path}", door.base)).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
    }
    for path in ["/api/orders/none", "/api/orders/..%2F..%2Fx", "/api/orders/%00", "/api/none"] {
        let (status, problem) = door.get(path).await;
        assert_eq!((status, &problem["status"]), (404, &json!(404)), "{path}: {problem}");
    }
    let (status, page) = door.get("/api/tickets?orderId=none").await;
    assert_eq!((status, page), (200, json!({ "items": [], "next": null })));
    door.close().await;
}

#[tokio::test]
async fn every_answer_is_in_the_document() {
    let door = open().await;
    let (_, document) = door.get("/openapi.json").await;
    let statuses = |path: &str, method: &str| {
        let responses = document["paths"][path][method]["responses"].as_object();
        responses.unwrap_or_else(|| panic!("{method} {path}")).keys().cloned().collect::<Vec<_>>()
    };
    for (path, method, wanted) in [
        ("/api/orders", "post", ["201", "400", "413", "415", "422", "429", "503"].as_slice()),
        ("/api/orders", "get", &["200", "401", "403", "422", "429", "503"]),
        ("/api/orders/{id}", "get", &["200", "401", "403", "404"]),
        (
            "/api/orders/approve",
            "post",
            &["200", "202", "400", "401", "403", "404", "409", "415", "422", "503"],
        ),
        ("/api/tickets", "get", &["200", "401", "403", "422"]),
    ] {
        let documented = statuses(path, method);
        for status in wanted {
            assert!(documented.contains(&(*status).to_owned()), "{status} of {method} {path}");
        }
    }
    door.close().await;
}
