//! The JavaScript library of the protocol connects to our server: `node/interop.test.mjs`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use protoo::{ConnectionRequest, Notification, Peer, PeerEvent, PeerEvents, Rejection, Request, RequestError, Room};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

/// Rooms by id; a room that is closed is replaced by the next who comes.
type Rooms = Arc<Mutex<HashMap<String, Room<String>>>>;

async fn connect(rooms: Rooms, request: ConnectionRequest) -> Response {
    let room_id = request.query("roomId").unwrap_or_default();
    let peer_id = request.query("peerId").unwrap_or_default();
    if room_id == "refused" {
        return request.reject(403, "not you");
    }
    request.accept(move |connection| async move {
        let room = {
            let mut rooms = rooms.lock().unwrap();
            let room = rooms.entry(room_id.clone()).or_default();
            if room.is_closed() {
                *room = Room::new();
            }
            room.clone()
        };
        let (peer, events) = room.create_peer(&peer_id, room_id, connection).unwrap();
        serve(&rooms, &room, &peer, events).await;
    })
}

async fn serve(rooms: &Rooms, room: &Room<String>, peer: &Peer<String>, mut events: PeerEvents) {
    while let Some(event) = events.next().await {
        match event {
            PeerEvent::Notification(Notification { method, mut data }) => match method.as_str() {
                "kickMe" => peer.close(),
                "closeRoom" => room.close(),
                "goAway" => room.go_away(),
                _ => {
                    data["to"] = peer.data().as_str().into();
                    peer.notify(&method, data).unwrap();
                }
            },
            PeerEvent::Request(request, responder) => {
                let (rooms, peer) = (Arc::clone(rooms), peer.clone());
                // A task for each, since some wait for answers of the same peer.
                tokio::spawn(async move { responder.respond(answer(&rooms, &peer, request).await) });
            }
        }
    }
}

async fn answer(rooms: &Rooms, peer: &Peer<String>, request: Request) -> Result<Value, Rejection> {
    match request.method.as_str() {
        "echo" => Ok(request.data),
        "boom" => panic!("BOOM!!!"),
        "ask" => {
            let method = request.data["method"].as_str().unwrap_or_default();
            match peer.request(method, &request.data["data"]).await {
                Ok(answer) => Ok(answer),
                Err(RequestError::Rejected(rejection)) => Err(rejection),
                Err(error) => Err(Rejection::new(500, error.to_string())),
            }
        }
        "peers" => {
            let id = request.data["roomId"].as_str().unwrap_or_default();
            let room = rooms.lock().unwrap().get(id).cloned();
            let peers = room.iter().flat_map(Room::peers);
            Ok(json!(peers.map(|peer| peer.id().to_owned()).collect::<Vec<_>>()))
        }
        _ => Err(Rejection::new(503, "WHO KNOWS!")),
    }
}

async fn run(command: &mut Command, what: &str) {
    let output = command.stdin(Stdio::null()).output().await;
    let output = output.unwrap_or_else(|error| panic!("{what} cannot be started (is it installed?): {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{what} failed: {}\n{stdout}\n{stderr}",
        output.status
    );
    println!("{stdout}");
}

#[tokio::test]
async fn the_javascript_library_finds_what_it_expects() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
    if !directory.join("node_modules/protoo-client/package.json").is_file() {
        run(Command::new("npm").arg("ci").current_dir(&directory), "npm ci").await;
    }
    let rooms = Rooms::default();
    let site = Router::new().route("/", get(move |request| connect(Arc::clone(&rooms), request)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let site = site.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, site).await });
    let mut node = Command::new("node");
    node.args([
        "--test",
        "--test-force-exit",
        "--test-reporter=spec",
        "interop.test.mjs",
    ]);
    node.current_dir(&directory)
        .env("PROTOO_URL", format!("ws://{address}"));
    run(&mut node, "node --test").await;
}
