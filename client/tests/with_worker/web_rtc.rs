//! WebRTC transports and WebRtcServers.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use client::{
    CloseReason, ConsumerEvent, ConsumerOptions, DecisionKind, DecisionReason, DtlsFingerprint, DtlsParameters,
    DtlsRole, DtlsState, ErrorKind, FingerprintAlgorithm, IceCandidateTcpType, IceRole, IceState, ListenInfo, ListenIp,
    MediaKind, NumSctpStreams, ProducerOptions, Protocol, SctpOptions, SctpState, Transport, TransportEvent,
    TransportKindDump, WebRtcListen, WebRtcServerEvent, WebRtcServerOptions, WebRtcTransport, WebRtcTransportOptions,
    WorkerEvent,
};

use crate::common::{audio, next, rest, router, worker};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn remote(role: DtlsRole) -> DtlsParameters {
    let value = (0..32).map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    DtlsParameters {
        role,
        fingerprints: vec![DtlsFingerprint {
            algorithm: FingerprintAlgorithm::Sha256,
            value,
        }],
    }
}

fn info(protocol: Protocol) -> ListenInfo {
    ListenInfo {
        protocol,
        ip: LOCALHOST,
        announced_ip: None,
        port: 0,
    }
}

fn assert_closed(transport: &WebRtcTransport) {
    assert!(transport.is_closed());
    assert_eq!(transport.ice_state(), IceState::Closed);
    assert_eq!(transport.dtls_state(), DtlsState::Closed);
    assert_eq!(transport.ice_selected_tuple(), None);
}

#[tokio::test]
async fn candidates_and_parameters() {
    let worker = worker().await;
    let router = router(&worker).await;
    let listen = |announced: &str| ListenIp {
        ip: LOCALHOST,
        announced_ip: (!announced.is_empty()).then(|| announced.to_owned()),
    };
    let transport = router
        .create_web_rtc_transport(WebRtcTransportOptions {
            enable_tcp: true,
            prefer_udp: true,
            sctp: Some(SctpOptions::default()),
            ..WebRtcTransportOptions::listening(WebRtcListen::Ips {
                ips: vec![listen("9.9.9.1"), listen("9.9.9.2"), listen("")],
                port: None,
            })
        })
        .await
        .unwrap();
    let candidates = transport.ice_candidates();
    let seen = candidates
        .iter()
        .map(|candidate| (candidate.ip.as_str(), candidate.protocol, candidate.tcp_type))
        .collect::<Vec<_>>();
    let passive = Some(IceCandidateTcpType::Passive);
    assert_eq!(
        seen,
        [
            ("9.9.9.1", Protocol::Udp, None),
            ("9.9.9.1", Protocol::Tcp, passive),
            ("9.9.9.2", Protocol::Udp, None),
            ("9.9.9.2", Protocol::Tcp, passive),
            ("127.0.0.1", Protocol::Udp, None),
            ("127.0.0.1", Protocol::Tcp, passive),
        ]
    );
    let priorities = |wanted| {
        let of = candidates.iter().filter(move |candidate| candidate.protocol == wanted);
        of.map(|candidate| candidate.priority).collect::<Vec<_>>()
    };
    assert!(priorities(Protocol::Udp).iter().min() > priorities(Protocol::Tcp).iter().max());
    assert!(priorities(Protocol::Udp).is_sorted_by(|a, b| a > b));

    assert_eq!(transport.ice_role(), IceRole::Controlled);
    assert!(transport.ice_parameters().ice_lite);
    assert_eq!(transport.ice_state(), IceState::New);
    assert_eq!(transport.dtls_state(), DtlsState::New);
    assert_eq!(transport.dtls_parameters().role, DtlsRole::Auto);
    assert_eq!(transport.dtls_parameters().fingerprints.len(), 5);
    assert_eq!(
        (transport.ice_selected_tuple(), transport.dtls_remote_cert()),
        (None, None)
    );
    let sctp = transport.sctp_parameters().unwrap();
    assert_eq!(
        (sctp.port, sctp.os, sctp.mis, sctp.max_message_size),
        (5000, 1024, 1024, 262_144)
    );
    assert_eq!(transport.sctp_state(), Some(SctpState::New));
    let dump = transport.dump().await.unwrap();
    assert!(matches!(
        dump.kind,
        TransportKindDump::WebRtc {
            ice_state: IceState::New,
            ..
        }
    ));
    assert_eq!(transport.get_stats().await.unwrap()[0].kind, "webrtc-transport");

    let mut events = transport.events();
    router.close();
    assert_closed(&transport);
    assert_eq!(transport.sctp_state(), Some(SctpState::Closed));
    assert!(matches!(
        next(&mut events).await,
        TransportEvent::Closed(CloseReason::RouterClosed)
    ));
}

#[tokio::test]
async fn connecting_and_restarting() {
    let worker = worker().await;
    let router = router(&worker).await;
    for (role, local) in [
        (DtlsRole::Client, DtlsRole::Server),
        (DtlsRole::Server, DtlsRole::Client),
        (DtlsRole::Auto, DtlsRole::Client),
    ] {
        let options = WebRtcTransportOptions::new(LOCALHOST);
        let transport = router.create_web_rtc_transport(options).await.unwrap();
        let nothing = DtlsParameters {
            role,
            fingerprints: Vec::new(),
        };
        assert_eq!(transport.connect(nothing).await.unwrap_err().kind(), ErrorKind::Type);
        assert_eq!(transport.dtls_parameters().role, DtlsRole::Auto);
        transport.connect(remote(role)).await.unwrap();
        assert_eq!(transport.dtls_parameters().role, local);
        assert_eq!(
            transport.connect(remote(role)).await.unwrap_err().kind(),
            ErrorKind::Other
        );

        let before = transport.ice_parameters();
        let after = transport.restart_ice().await.unwrap();
        assert_ne!(before.username_fragment, after.username_fragment);
        assert_ne!(before.password, after.password);
        assert_eq!(transport.ice_parameters(), after);

        transport.set_max_incoming_bitrate(100_000).await.unwrap();
        transport.set_max_outgoing_bitrate(100_000).await.unwrap();
        let too_low = transport.set_max_outgoing_bitrate(29_999).await.unwrap_err();
        assert_eq!(too_low.kind(), ErrorKind::Type);
        let decisions = transport.dump().await.unwrap().decisions;
        let told: Vec<_> = decisions.iter().map(|decision| (decision.what, decision.why)).collect();
        let limit = DecisionKind::Limit { bitrate: 100_000 };
        assert_eq!(told, [(limit, DecisionReason::Parent)]);
        transport.close();
        assert_closed(&transport);
        assert_eq!(
            transport.restart_ice().await.unwrap_err().kind(),
            ErrorKind::InvalidState
        );
    }
}

#[tokio::test]
async fn wrong_arguments_of_transports() {
    let worker = worker().await;
    let router = router(&worker).await;
    let elsewhere = router
        .create_web_rtc_transport(WebRtcTransportOptions::new([8, 8, 8, 8]))
        .await;
    assert_eq!(elsewhere.unwrap_err().kind(), ErrorKind::Other);
    let nowhere = WebRtcTransportOptions::listening(WebRtcListen::Ips {
        ips: Vec::new(),
        port: None,
    });
    let nowhere = router.create_web_rtc_transport(nowhere).await;
    assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::Type);
    assert!(router.transports().is_empty());
}

#[tokio::test]
async fn a_server_carries_transports() {
    let worker = worker().await;
    let mut worker_events = worker.events();
    let server = worker
        .create_web_rtc_server(WebRtcServerOptions::new(vec![info(Protocol::Udp), info(Protocol::Tcp)]))
        .await
        .unwrap();
    assert!(matches!(next(&mut worker_events).await, WorkerEvent::NewWebRtcServer(new) if new.id() == server.id()));
    assert_eq!(worker.dump().await.unwrap().web_rtc_server_ids, [server.id()]);
    let dump = server.dump().await.unwrap();
    assert_eq!((dump.udp_sockets.len(), dump.tcp_servers.len()), (1, 1));
    assert!(dump.web_rtc_transport_ids.is_empty() && dump.local_ice_username_fragments.is_empty());

    let router = router(&worker).await;
    let create = async || {
        let options = WebRtcTransportOptions {
            enable_tcp: true,
            ..WebRtcTransportOptions::with_server(server.clone())
        };
        router.create_web_rtc_transport(options).await.unwrap()
    };
    let mut events = server.events();
    let (first, second, third) = (create().await, create().await, create().await);
    for expected in [&first, &second, &third] {
        let event = next(&mut events).await;
        assert!(matches!(event, WebRtcServerEvent::TransportHandled(new) if new.id() == expected.id()));
    }
    let ports = first
        .ice_candidates()
        .iter()
        .map(|candidate| candidate.port)
        .collect::<Vec<_>>();
    assert_eq!(ports, [dump.udp_sockets[0].port, dump.tcp_servers[0].port]);
    assert_eq!(server.transports().len(), 3);
    let dump = server.dump().await.unwrap();
    assert_eq!(dump.web_rtc_transport_ids.len(), 3);
    assert_eq!(dump.local_ice_username_fragments.len(), 3);

    // However a transport ends, the server forgets it and tells so once.
    first.close();
    let event = next(&mut events).await;
    assert!(matches!(event, WebRtcServerEvent::TransportUnhandled(gone) if gone.id() == first.id()));
    assert_eq!(server.dump().await.unwrap().web_rtc_transport_ids.len(), 2);

    let second_events = second.events();
    server.close();
    server.close();
    for transport in [&second, &third] {
        assert_closed(transport);
    }
    assert!(matches!(
        rest(second_events).await.as_slice(),
        [TransportEvent::Closed(CloseReason::ListenServerClosed)]
    ));
    assert!(matches!(
        rest(events).await.as_slice(),
        [
            WebRtcServerEvent::TransportUnhandled(_),
            WebRtcServerEvent::TransportUnhandled(_),
            WebRtcServerEvent::Closed(CloseReason::Requested)
        ]
    ));
    assert!(router.transports().is_empty() && worker.web_rtc_servers().is_empty());
    assert!(router.dump().await.unwrap().transport_ids.is_empty());
    assert_eq!(server.dump().await.unwrap_err().kind(), ErrorKind::InvalidState);
    let late = router
        .create_web_rtc_transport(WebRtcTransportOptions::with_server(server))
        .await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::InvalidState);
}

#[tokio::test]
async fn servers_end_after_routers() {
    let worker = worker().await;
    let options = WebRtcServerOptions::new(vec![info(Protocol::Udp)]);
    let server = worker.create_web_rtc_server(options).await.unwrap();
    let router = router(&worker).await;
    let options = WebRtcTransportOptions::with_server(server.clone());
    let transport = router.create_web_rtc_transport(options).await.unwrap();
    let (server_events, transport_events) = (server.events(), transport.events());
    worker.close();
    assert_closed(&transport);
    assert!(matches!(
        rest(transport_events).await.as_slice(),
        [TransportEvent::Closed(CloseReason::RouterClosed)]
    ));
    assert!(matches!(
        rest(server_events).await.as_slice(),
        [
            WebRtcServerEvent::TransportHandled(_),
            WebRtcServerEvent::TransportUnhandled(_),
            WebRtcServerEvent::Closed(CloseReason::WorkerClosed)
        ]
    ));
}

#[tokio::test]
async fn wrong_arguments_of_servers() {
    let worker = worker().await;
    let nothing = worker.create_web_rtc_server(WebRtcServerOptions::default()).await;
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::Type);
    let elsewhere = ListenInfo {
        ip: [8, 8, 8, 8].into(),
        ..info(Protocol::Udp)
    };
    let elsewhere = worker
        .create_web_rtc_server(WebRtcServerOptions::new(vec![elsewhere]))
        .await;
    assert_eq!(elsewhere.unwrap_err().kind(), ErrorKind::Other);

    let first = worker.create_web_rtc_server(WebRtcServerOptions::new(vec![info(Protocol::Udp)]));
    let port = first.await.unwrap().dump().await.unwrap().udp_sockets[0].port;
    let taken = ListenInfo {
        port,
        ..info(Protocol::Udp)
    };
    let taken = worker
        .create_web_rtc_server(WebRtcServerOptions::new(vec![taken]))
        .await;
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::Other);
    assert_eq!(worker.web_rtc_servers().len(), 1);

    worker.close();
    let late = worker.create_web_rtc_server(WebRtcServerOptions::default()).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::InvalidState);
    tokio::time::timeout(Duration::from_secs(5), worker.wait())
        .await
        .unwrap();
}

/// The worker tells about the ends of producers while this side still closes transports.
#[tokio::test]
async fn consumers_end_with_their_transport_when_a_server_closes() {
    let worker = worker().await;
    let router = router(&worker).await;
    let options = WebRtcServerOptions::new(vec![info(Protocol::Udp)]);
    let server = worker.create_web_rtc_server(options).await.unwrap();
    let mut consumers = Vec::new();
    for ssrc in 0..200 {
        let options = WebRtcTransportOptions::with_server(server.clone());
        let transport = router.create_web_rtc_transport(options).await.unwrap();
        let options = ProducerOptions::new(MediaKind::Audio, audio(1000 + ssrc));
        let producer = transport.produce(options).await.unwrap();
        let options = ConsumerOptions::new(producer.id(), router.rtp_capabilities().clone());
        consumers.push(transport.consume(options).await.unwrap());
    }
    // On another thread than what reads from the worker.
    tokio::task::spawn_blocking(move || server.close()).await.unwrap();
    for consumer in consumers {
        let events = rest(consumer.events()).await;
        let last = events.last();
        assert!(
            matches!(last, Some(ConsumerEvent::Closed(CloseReason::TransportClosed))),
            "{last:?}"
        );
    }
}

#[tokio::test]
async fn options_of_transports() {
    let worker = worker().await;
    let router = router(&worker).await;
    let create = async |options: WebRtcTransportOptions| router.create_web_rtc_transport(options).await;
    let first_is = |transport: &WebRtcTransport, protocol| {
        let candidates = transport.ice_candidates();
        candidates
            .iter()
            .max_by_key(|candidate| candidate.priority)
            .map(|first| first.protocol)
            == Some(protocol)
    };
    let both = || WebRtcTransportOptions {
        enable_tcp: true,
        ..WebRtcTransportOptions::new(LOCALHOST)
    };
    let options = WebRtcTransportOptions {
        prefer_tcp: true,
        ..both()
    };
    assert!(first_is(&create(options).await.unwrap(), Protocol::Tcp));
    let options = WebRtcTransportOptions {
        prefer_udp: true,
        ..both()
    };
    assert!(first_is(&create(options).await.unwrap(), Protocol::Udp));
    let neither = WebRtcTransportOptions {
        enable_udp: false,
        ..WebRtcTransportOptions::new(LOCALHOST)
    };
    assert_eq!(create(neither).await.unwrap_err().kind(), ErrorKind::Type);
    let many = WebRtcTransportOptions::listening(WebRtcListen::Ips {
        ips: vec![
            ListenIp {
                ip: LOCALHOST,
                announced_ip: None,
            };
            9
        ],
        port: None,
    });
    assert_eq!(create(many).await.unwrap_err().kind(), ErrorKind::Type);

    // A port of one's own, and an announced address that is none.
    let free = std::net::UdpSocket::bind((LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let on_port = || {
        let announced_ip = Some(String::new());
        WebRtcTransportOptions::listening(WebRtcListen::Ips {
            ips: vec![ListenIp {
                ip: LOCALHOST,
                announced_ip,
            }],
            port: Some(free),
        })
    };
    let transport = create(on_port()).await.unwrap();
    let candidate = &transport.ice_candidates()[0];
    assert_eq!((candidate.ip.as_str(), candidate.port), ("127.0.0.1", free));
    assert_eq!(create(on_port()).await.unwrap_err().kind(), ErrorKind::Other);

    let sctp = SctpOptions {
        num_streams: NumSctpStreams { os: 16, mis: 64 },
        max_message_size: 1234,
        ..SctpOptions::default()
    };
    let with_sctp = |sctp| WebRtcTransportOptions {
        sctp: Some(sctp),
        ..WebRtcTransportOptions::new(LOCALHOST)
    };
    let transport = create(with_sctp(sctp)).await.unwrap();
    let parameters = transport.sctp_parameters().unwrap();
    assert_eq!(
        (parameters.os, parameters.mis, parameters.max_message_size),
        (16, 64, 1234)
    );
    let huge = SctpOptions {
        send_buffer_size: 268_435_457,
        ..sctp
    };
    assert_eq!(create(with_sctp(huge)).await.unwrap_err().kind(), ErrorKind::Type);
    assert_eq!(router.transports().len(), 4);
}

#[tokio::test]
async fn a_server_is_for_its_own_worker() {
    let (here, there) = (worker().await, worker().await);
    let options = WebRtcServerOptions::new(vec![info(Protocol::Udp)]);
    let server = here.create_web_rtc_server(options).await.unwrap();
    let router = router(&there).await;
    let options = WebRtcTransportOptions::with_server(server.clone());
    let error = router.create_web_rtc_transport(options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(server.transports().is_empty() && router.transports().is_empty());
    // Nothing to offer where only TCP is wanted.
    let router = crate::common::router(&here).await;
    let options = WebRtcTransportOptions {
        enable_udp: false,
        enable_tcp: true,
        ..WebRtcTransportOptions::with_server(server)
    };
    let error = router.create_web_rtc_transport(options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Type);
    let options = WebRtcServerOptions::new(vec![info(Protocol::Udp); 9]);
    let many = here.create_web_rtc_server(options).await;
    assert_eq!(many.unwrap_err().kind(), ErrorKind::Type);
}

#[tokio::test]
async fn fingerprints_of_all_algorithms() {
    let worker = worker().await;
    let router = router(&worker).await;
    let transport = router
        .create_web_rtc_transport(WebRtcTransportOptions::new(LOCALHOST))
        .await
        .unwrap();
    for DtlsFingerprint { algorithm, value } in transport.dtls_parameters().fingerprints {
        let peer = router
            .create_web_rtc_transport(WebRtcTransportOptions::new(LOCALHOST))
            .await
            .unwrap();
        // Only the first one counts.
        let fingerprints = vec![
            DtlsFingerprint { algorithm, value },
            DtlsFingerprint {
                algorithm: FingerprintAlgorithm::Sha1,
                value: "00".to_owned(),
            },
        ];
        let role = DtlsRole::Server;
        peer.connect(DtlsParameters { role, fingerprints }).await.unwrap();
        assert_eq!(peer.dtls_parameters().role, DtlsRole::Client, "{algorithm:?}");
    }
}
