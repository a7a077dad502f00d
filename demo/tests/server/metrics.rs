//! Numbers for whoever watches.

use serde_json::json;

use crate::broadcasters::{Api, opus, viewer, while_speaking};
use crate::client::{http, http_with, server, start, until};

#[tokio::test]
async fn what_goes_on_is_counted() {
    let server = server(1).await;
    let mut one = viewer(&server, "one").await;
    let api = Api(&server);
    api.create("source", json!(null)).await;
    let (transport, told) = api.plain("source").await;
    api.post(
        &format!("{transport}/producers"),
        json!({ "kind": "audio", "rtpParameters": opus() }),
    )
    .await;
    one.take().await;
    let all_there = async || {
        let (status, text) = http(&server, "GET", "/metrics", "").await;
        assert_eq!(status, 200);
        let number = |name: &str| -> f64 {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(&format!("sluice_{name} ")));
            line.and_then(|value| value.parse().ok())
                .unwrap_or_else(|| panic!("{name} is not in {text}"))
        };
        for (name, expected) in [
            ("rooms", 1.0),
            ("peers", 1.0),
            ("broadcasters", 1.0),
            ("members{worker=\"0\"}", 2.0),
            ("transports{worker=\"0\"}", 2.0),
            ("producers{worker=\"0\"}", 1.0),
            ("consumers{worker=\"0\"}", 1.0),
            ("worker_up{worker=\"0\"}", 1.0),
            ("worker_deaths_total{worker=\"0\"}", 0.0),
        ] {
            assert_eq!(number(name), expected, "{name}");
        }
        // The bot hears and speaks on a transport that is nobody's.
        assert!(
            number("connections") >= 2.0 && number("worker_resident_bytes{worker=\"0\"}") > 1e6,
            "{text}"
        );
        number("worker_cpu_seconds_total{worker=\"0\",mode=\"user\"}");
        let received = ["received_packets_total", "received_bytes_total", "receive_bitrate"];
        received
            .iter()
            .all(|name| number(&format!("{name}{{worker=\"0\"}}")) > 0.0)
    };
    while_speaking(&told, 30, until("packets are counted", all_there)).await;
    server.close();
}

#[tokio::test]
async fn a_token_keeps_others_away() {
    let server = start(&["--insecure-http", "--num-workers=1", "--metrics-token=t"]).await;
    let ask = async |header: &str| http_with(server.address(), "GET", "/metrics", header, "").await.0;
    assert_eq!(ask("").await, 403);
    assert_eq!(ask("Authorization: Bearer x\r\n").await, 403);
    assert_eq!(ask("Authorization: Bearer t\r\n").await, 200);
    server.close();
}
