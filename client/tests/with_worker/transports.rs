//! Plain and direct transports.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::common::{audio, next, packet, rest, router, worker};
use client::{
    CloseReason, ErrorKind, PlainConnectOptions, PlainTransportOptions, ProducerOptions, SrtpCryptoSuite,
    SrtpParameters, Transport, TransportEvent, TransportTraceType, TransportTuple,
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
