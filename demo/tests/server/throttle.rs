//! The network that is made worse on purpose.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::client::{open, server, start};

#[tokio::test]
async fn nobody_throttles_who_does_not_know_the_secret() {
    for (secret, tried) in [(None, "x"), (None, ""), (Some("s3cret"), "s3cre"), (Some("s3cret"), "")] {
        let server = match secret {
            None => server(1).await,
            Some(secret) => {
                let secret = format!("--throttle-secret={secret}");
                start(&[
                    "--insecure-http",
                    "--num-workers=1",
                    "--throttle-tools=/nonexistent",
                    &secret,
                ])
                .await
            }
        };
        let mut one = open(&server, "one").await;
        for data in [json!({ "secret": tried }), json!({}), json!({ "secret": 3 })] {
            for method in ["applyNetworkThrottle", "resetNetworkThrottle"] {
                let answer = one.try_ask(method, data.clone()).await;
                assert_eq!(answer["errorCode"], 403, "{method} {data}: {answer}");
            }
        }
        server.close();
    }
}

#[tokio::test]
async fn where_it_is_not_possible_it_is_refused() {
    let flags = [
        "--insecure-http",
        "--num-workers=1",
        "--throttle-secret=s",
        "--throttle-tools=/nonexistent",
    ];
    let server = start(&flags).await;
    let mut one = open(&server, "one").await;
    let answer = one
        .try_ask("applyNetworkThrottle", json!({ "secret": "s", "rtt": 100 }))
        .await;
    assert_eq!(answer["errorCode"], 500, "{answer}");
    let reason = answer["errorReason"].as_str().expect("a reason");
    assert!(reason.starts_with("not supported here"), "{reason}");
    for data in [
        json!({ "secret": "s", "rtt": -1 }),
        json!({ "secret": "s", "packetLoss": 101 }),
    ] {
        assert_eq!(one.try_ask("applyNetworkThrottle", data).await["errorCode"], 400);
    }
    assert_eq!(
        one.ask("resetNetworkThrottle", json!({ "secret": "s" })).await,
        json!({})
    );
    server.close();
}

/// With programs that write down how they are called.
#[tokio::test]
async fn a_throttle_ends_with_its_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    for program in ["tc", "ip"] {
        let path = folder.path().join(program);
        let script = format!("#!/bin/sh\necho \"$(basename $0) $*\" >> {}\n", log.display());
        std::fs::write(&path, script).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let tools = format!("--throttle-tools={}", folder.path().display());
    let interface = "--throttle-interface=eth7";
    let server = start(&[
        "--insecure-http",
        "--num-workers=1",
        "--throttle-secret=s",
        &tools,
        interface,
    ])
    .await;
    let mut one = open(&server, "one").await;
    let wanted = json!({ "secret": "s", "uplink": 500, "downlink": 900, "rtt": 100, "packetLoss": 2.5 });
    one.ask("applyNetworkThrottle", wanted).await;
    let calls = std::fs::read_to_string(&log).expect("a log");
    let expected = [
        "tc qdisc add dev eth7 root netem delay 50000us loss 2.5% rate 900kbit limit 10000",
        "ip link add ifb-demo type ifb",
        "ip link set ifb-demo up",
        "tc qdisc add dev eth7 ingress",
        "tc filter add dev eth7 parent ffff: protocol all matchall action mirred egress redirect dev ifb-demo",
        "tc qdisc add dev ifb-demo root netem delay 50000us loss 2.5% rate 500kbit limit 10000",
    ];
    let added: Vec<_> = calls.lines().skip(3).collect();
    assert_eq!(added, expected);
    drop(one);
    let removed = async {
        while std::fs::read_to_string(&log).expect("a log").lines().count() < 12 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::client::LIMIT, removed)
        .await
        .expect("it is lifted");
    let calls = std::fs::read_to_string(&log).expect("a log");
    assert!(
        calls.lines().skip(9).any(|call| call == "tc qdisc del dev eth7 root"),
        "{calls}"
    );
    server.close();
}
