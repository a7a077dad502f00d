//! Plain and direct transports.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::common::{audio, next, packet, rest, router, worker};
use client::{
    AppData, CloseReason, ErrorKind, ListenIp, PlainConnectOptions, PlainTransportOptions, ProducerOptions,
    SrtpCryptoSuite, SrtpParameters, Transport, TransportEvent, TransportTraceType, TransportTuple,
};
use client::{DirectTransportOptions, MediaKind};
use tokio::net::UdpSocket;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn plain_transports() {
    let worker = worker().await;
    let router = router(&worker).await;
    let options = PlainTransportOptions {
        rtcp_mux: false,
        ..PlainTransportOptions::new(LOCALHOST)
    };
    let transport = router.create_plain_transport(options).await.unwrap();
    let TransportTuple {
        local_ip,
        local_port,
        remote_ip,
        ..
    } = transport.tuple();
    assert_eq!((local_ip.as_str(), remote_ip), ("127.0.0.1", None));
    assert_ne!(local_port, 0);
    assert!(transport.rtcp_tuple().is_some() && !transport.rtcp_mux() && !transport.comedia());
    assert_eq!(transport.dump().await.unwrap().id, transport.id());
    let stats = transport.get_stats().await.unwrap();
    assert_eq!((stats.len(), stats[0].kind.as_str()), (1, "plain-rtp-transport"));
    assert_eq!(router.transports().len(), 1);

    let connect = |ip, port, rtcp_port| {
        transport.connect(PlainConnectOptions {
            ip,
            port,
            rtcp_port,
            srtp_parameters: None,
        })
    };
    for incomplete in [
        (None, Some(1), Some(2)),
        (Some(LOCALHOST), None, Some(2)),
        (Some(LOCALHOST), Some(1), None),
    ] {
        let error = connect(incomplete.0, incomplete.1, incomplete.2).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Type, "{incomplete:?}");
    }
    connect(Some(LOCALHOST), Some(5004), Some(5005)).await.unwrap();
    assert_eq!(transport.tuple().remote_port, Some(5004));
    assert_eq!(transport.rtcp_tuple().unwrap().remote_port, Some(5005));
    let again = connect(Some(LOCALHOST), Some(5004), Some(5005)).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Other);

    transport.set_max_incoming_bitrate(1_000_000).await.unwrap();
    transport
        .enable_trace_event(&[TransportTraceType::Probation])
        .await
        .unwrap();
    assert_eq!(transport.dump().await.unwrap().trace_event_types, "probation");

    transport.close();
    transport.close();
    assert!(router.transports().is_empty());
    assert_eq!(transport.get_stats().await.unwrap_err().kind(), ErrorKind::InvalidState);
    assert!(matches!(
        rest(transport.events()).await.as_slice(),
        [TransportEvent::Closed(CloseReason::Requested)]
    ));
}

#[tokio::test]
async fn an_address_that_is_not_ours() {
    let worker = worker().await;
    let router = router(&worker).await;
    let error = router
        .create_plain_transport(PlainTransportOptions::new([8, 8, 8, 8]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other, "{error}");
}

#[tokio::test]
async fn keys_of_plain_transports() {
    let worker = worker().await;
    let router = router(&worker).await;
    for suite in SrtpCryptoSuite::ALL {
        let options = PlainTransportOptions {
            srtp_crypto_suite: Some(suite),
            ..PlainTransportOptions::new(LOCALHOST)
        };
        let transport = router.create_plain_transport(options).await.unwrap();
        let SrtpParameters {
            crypto_suite,
            key_base64,
        } = transport.srtp_parameters().unwrap();
        assert_eq!(crypto_suite, suite);
        assert_eq!(key_base64.len(), suite.master_length().div_ceil(3) * 4);

        let mut options = PlainConnectOptions {
            ip: Some(LOCALHOST),
            port: Some(5004),
            ..Default::default()
        };
        let missing = transport.connect(options.clone()).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::Type);
        options.srtp_parameters = Some(SrtpParameters {
            crypto_suite,
            key_base64,
        });
        transport.connect(options).await.unwrap();
        assert!(transport.srtp_parameters().is_some());
    }
}

#[tokio::test]
async fn the_address_of_the_peer_is_learnt() {
    let worker = worker().await;
    let router = router(&worker).await;
    let options = PlainTransportOptions {
        comedia: true,
        ..PlainTransportOptions::new(LOCALHOST)
    };
    let transport = router.create_plain_transport(options).await.unwrap();
    let producer = transport
        .produce(ProducerOptions::new(MediaKind::Audio, audio(1234)))
        .await
        .unwrap();
    let mut events = transport.events();
    assert!(matches!(next(&mut events).await, TransportEvent::NewProducer(new) if new.id() == producer.id()));

    let peer = UdpSocket::bind((LOCALHOST, 0)).await.unwrap();
    peer.connect((LOCALHOST, transport.tuple().local_port)).await.unwrap();
    peer.send(&packet(1234, 1, b"abc")).await.unwrap();
    let TransportEvent::Tuple(tuple) = next(&mut events).await else {
        panic!("another event")
    };
    assert_eq!(tuple.remote_port, Some(peer.local_addr().unwrap().port()));
    assert_eq!(transport.tuple(), tuple);

    for sequence_number in 2..10 {
        peer.send(&packet(1234, sequence_number, b"abc")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stats = producer.get_stats().await.unwrap();
    assert_eq!((stats.len(), stats[0].ssrc, stats[0].packet_count), (1, 1234, 9));
}

#[tokio::test]
async fn direct_transports() {
    let worker = worker().await;
    let router = router(&worker).await;
    let transport = router
        .create_direct_transport(DirectTransportOptions::default())
        .await
        .unwrap();
    assert!(transport.dump().await.unwrap().direct);
    assert_eq!(transport.get_stats().await.unwrap()[0].kind, "direct-transport");
    assert_eq!(
        transport.set_max_incoming_bitrate(1).await.unwrap_err().kind(),
        ErrorKind::Unsupported
    );
    assert_eq!(
        transport.set_max_outgoing_bitrate(1).await.unwrap_err().kind(),
        ErrorKind::Unsupported
    );
    // An empty receiver report: allowed, of no effect.
    transport.send_rtcp(vec![0x80, 201, 0, 1, 0, 0, 0, 1]).await.unwrap();
    router.close();
    assert!(matches!(
        rest(transport.events()).await.as_slice(),
        [TransportEvent::Closed(CloseReason::RouterClosed)]
    ));
    assert_eq!(
        transport.send_rtcp(Vec::new()).await.unwrap_err().kind(),
        ErrorKind::InvalidState
    );
}

#[tokio::test]
async fn what_connecting_must_not_say() {
    let worker = worker().await;
    let router = router(&worker).await;
    let transport = router
        .create_plain_transport(PlainTransportOptions::new(LOCALHOST))
        .await
        .unwrap();
    let key = SrtpParameters {
        crypto_suite: SrtpCryptoSuite::AesCm128HmacSha1_80,
        key_base64: "A".repeat(40),
    };
    let peer = PlainConnectOptions {
        ip: Some(LOCALHOST),
        port: Some(5004),
        ..Default::default()
    };
    for wrong in [
        PlainConnectOptions {
            rtcp_port: Some(5005),
            ..peer.clone()
        },
        PlainConnectOptions {
            srtp_parameters: Some(key.clone()),
            ..peer.clone()
        },
    ] {
        let error = transport.connect(wrong.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Type, "{wrong:?}");
    }
    transport.connect(peer.clone()).await.unwrap();

    let secure = |comedia| PlainTransportOptions {
        comedia,
        srtp_crypto_suite: Some(SrtpCryptoSuite::AesCm128HmacSha1_80),
        ..PlainTransportOptions::new(LOCALHOST)
    };
    let transport = router.create_plain_transport(secure(false)).await.unwrap();
    let short = SrtpParameters {
        key_base64: "A".repeat(36),
        ..key.clone()
    };
    let error = transport
        .connect(PlainConnectOptions {
            srtp_parameters: Some(short),
            ..peer.clone()
        })
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Type);
    // The peer may prefer another suite, and this side follows.
    let key = SrtpParameters {
        crypto_suite: SrtpCryptoSuite::AeadAes256Gcm,
        key_base64: "A".repeat(59) + "=",
    };
    let options = PlainConnectOptions {
        srtp_parameters: Some(key.clone()),
        ..peer
    };
    transport.connect(options).await.unwrap();
    let ours = transport.srtp_parameters().unwrap();
    assert_eq!(
        (ours.crypto_suite, ours.key_base64.len()),
        (SrtpCryptoSuite::AeadAes256Gcm, 60)
    );

    // Where the address is learnt, only a key is told.
    let transport = router.create_plain_transport(secure(true)).await.unwrap();
    let options = PlainConnectOptions {
        srtp_parameters: Some(key),
        ..Default::default()
    };
    transport.connect(options).await.unwrap();
    assert_eq!(transport.tuple().remote_port, None);
}

#[tokio::test]
async fn addresses_and_ports_of_plain_transports() {
    let worker = worker().await;
    let router = router(&worker).await;
    let free = std::net::UdpSocket::bind((LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let listen_ip = ListenIp {
        ip: LOCALHOST,
        announced_ip: Some("9.9.9.9".to_owned()),
    };
    let options = PlainTransportOptions {
        listen_ip,
        port: Some(free),
        app_data: AppData::new(7_u8),
        ..PlainTransportOptions::new(LOCALHOST)
    };
    let transport = router.create_plain_transport(options).await.unwrap();
    let tuple = transport.tuple();
    assert_eq!((tuple.local_ip.as_str(), tuple.local_port), ("9.9.9.9", free));
    assert!(transport.rtcp_tuple().is_none() && transport.srtp_parameters().is_none());
    assert!(transport.sctp_parameters().is_none() && transport.sctp_state().is_none());
    assert_eq!(transport.app_data().get::<u8>(), Some(&7));
    assert_eq!(transport.app_data().get::<u16>(), None);
    // That of a transport of any kind is the same.
    assert_eq!(router.transports()[0].app_data().get::<u8>(), Some(&7));
}
