//! Order, pipelining, coalescing, files, stopping.

use super::*;
use crate::host::{AlignedBuf, Durability, File, OpenHow, WriteSlice};

#[test]
fn replies_come_in_the_order_of_the_requests_whichever_is_ready_first() {
    host::run_local(async {
        let server = Server::start(NetConfig::default()).await;
        let client = server.connect().await;
        let ops = [Op::EchoReleased, Op::Echo, Op::EchoLater, Op::Silence, Op::Echo];
        let all: Vec<u8> = (b'a'..).zip(ops).flat_map(|(name, op)| request(op, &[name])).collect();
        client.send(&all).await;
        server.has_started(5).await;
        assert_eq!(*server.seen.started.borrow(), ["a", "b", "c", "d", "e"]);
        server.release();
        for name in [b"a", b"b", b"c", b"e"] {
            assert_eq!(client.reply().await, name);
        }
        drop(client);
        server.is_clean().await;
    });
}

async fn three_rounds(client: Client, number: u32) {
    for round in 0..3u32 {
        let mut all = Vec::new();
        for place in 0..4u32 {
            let op = if place % 2 == 0 { Op::EchoLater } else { Op::Echo };
            all.extend(request(op, &[number, round, place].map(u32::to_be_bytes).concat()));
        }
        client.send(&all).await;
        for place in 0..4u32 {
            assert_eq!(client.reply().await, [number, round, place].map(u32::to_be_bytes).concat());
        }
    }
}

#[test]
fn a_thousand_connections_pipeline_side_by_side() {
    host::raise_descriptor_limit();
    host::run_local(async {
        let server = Server::start(NetConfig::default()).await;
        let mut clients = Vec::new();
        for _ in 0..1_000 {
            clients.push(server.connect().await);
        }
        while server.connections.len() < 1_000 {
            host::sleep(Duration::from_micros(200)).await;
        }
        assert_eq!(server.acceptor.connections(), 1_000);
        let numbered = (0u32..).zip(clients);
        let clients: Vec<_> =
            numbered.map(|(number, client)| host::spawn(three_rounds(client, number))).collect();
        for client in clients {
            client.await;
        }
        server.is_clean().await;
    });
}

#[test]
fn requests_that_dribble_in_are_put_together() {
    host::run_local(async {
        let server = Server::start(NetConfig::default()).await;
        let client = server.connect().await;
        let payload: Vec<u8> = (0..100_000u32).map(|at| at as u8).collect();
        let wire = [request(Op::Echo, b"first"), request(Op::Echo, &payload)].concat();
        for piece in wire.chunks(7_001) {
            client.send(piece).await;
            host::yield_now().await;
        }
        assert_eq!(client.reply().await, b"first");
        assert_eq!(client.reply().await, payload);
    });
}

#[test]
fn a_reply_may_carry_ranges_of_files() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("segment");
    host::run_local(async move {
        let bytes: Vec<u8> = (0..5_000_000u32).map(|at| (at ^ at >> 8) as u8).collect();
        let how = OpenHow { read: true, write: true, create: true, ..OpenHow::default() };
        let file = File::open(&path, how).await.expect("opens");
        let slices: Vec<WriteSlice> = vec![AlignedBuf::copy_of(&bytes).into()];
        file.write_at(slices, 0, Durability::None).await.expect("writes");
        let server = Server::start(NetConfig::default()).await;
        *server.seen.file.borrow_mut() = Some(file.shared_fd());
        let client = server.connect().await;
        let lengths = [4_000_000u32, 10, 0, 2_500_000];
        let mut all = request(Op::Echo, b"before");
        for length in lengths {
            all.extend(request(Op::File, &length.to_be_bytes()));
            all.extend(request(Op::Echo, b"between"));
        }
        client.send(&all).await;
        assert_eq!(client.reply().await, b"before");
        for length in lengths {
            let expected = [&bytes[1..=length as usize], &length.to_be_bytes()].concat();
            assert!(client.reply().await == expected, "{length} bytes of the file");
            assert_eq!(client.reply().await, b"between");
        }
        drop(client);
        server.is_clean().await;
    });
}

#[test]
fn only_so_many_requests_of_one_connection_are_in_progress() {
    host::run_local(async {
        let server = Server::start(NetConfig { requests_in_progress_max: 5, ..NetConfig::default() }).await;
        let client = server.connect().await;
        for name in 0..20 {
            client.ask(Op::EchoReleased, &[name]).await;
        }
        server.has_started(5).await;
        host::sleep(Duration::from_millis(5)).await;
        assert_eq!(server.seen.started.borrow().len(), 5);
        server.release();
        for name in 0..20 {
            assert_eq!(client.reply().await, [name]);
        }
        assert_eq!(server.seen.most_in_progress.get(), 5);
    });
}

#[test]
fn an_answer_of_close_sends_what_came_before_it_and_nothing_after() {
    host::run_local(async {
        let server = Server::start(NetConfig::default()).await;
        let client = server.connect().await;
        let all = [request(Op::EchoLater, b"a"), request(Op::Close, b""), request(Op::Echo, b"c")].concat();
        client.send(&all).await;
        assert_eq!(client.reply().await, b"a");
        assert!(client.is_closed().await);
        server.is_clean().await;
        assert_eq!(server.seen.started.borrow().len(), 2, "nothing starts behind it");
    });
}

#[test]
fn a_stop_answers_what_is_in_progress_and_reads_nothing_more() {
    host::run_local(async {
        let server = Server::start(NetConfig::default()).await;
        let (busy, idle) = (server.connect().await, server.connect().await);
        idle.ask(Op::Echo, b"x").await;
        assert_eq!(idle.reply().await, b"x");
        busy.ask(Op::EchoReleased, b"y").await;
        server.has_started(2).await;
        server.acceptor.stop();
        server.connections.stop();
        assert!(idle.is_closed().await);
        busy.ask(Op::Echo, b"too late").await;
        host::sleep(Duration::from_millis(2)).await;
        server.release();
        assert_eq!(busy.reply().await, b"y");
        assert!(busy.is_closed().await);
        server.is_clean().await;
        assert_eq!(server.seen.started.borrow().len(), 2);
        assert!(Stream::connect(server.address).await.is_err(), "the listener is closed");
    });
}

#[test]
fn a_handler_learns_of_the_end_and_a_half_closed_client_gets_its_replies() {
    host::run_local(async {
        let server = Server::start(NetConfig::default()).await;
        let client = server.connect().await;
        let all =
            [request(Op::Echo, b"a"), request(Op::EchoLater, b"c"), request(Op::UntilHurried, b"")].concat();
        client.send(&all).await;
        client.stream.shutdown(host::Shutdown::Write).expect("ends");
        assert_eq!(client.reply().await, b"a");
        assert_eq!(client.reply().await, b"c");
        assert!(client.is_closed().await);
        assert!(server.seen.saw_close.get());
        server.is_clean().await;
    });
}

#[test]
fn a_muted_connection_is_not_read_for_a_while() {
    host::run_local(async {
        let server = Server::start(NetConfig::default()).await;
        let client = server.connect().await;
        let start = host::now();
        client.ask(Op::Mute, b"a").await;
        assert_eq!(client.reply().await, b"a");
        client.ask(Op::Echo, b"b").await;
        assert_eq!(client.reply().await, b"b");
        assert!(host::now().since(start) >= Duration::from_millis(20));
    });
}

/// One shard accepts, the other serves: descriptors cross the mesh.
#[test]
fn connections_are_handed_to_another_shard() {
    use std::sync::{Arc, Mutex};

    use ottla::ids::ShardId;

    use crate::host::ShardSpec;
    use crate::mesh::{self, Mesh, Seat};
    use crate::net::Accepted;

    async fn serve(mesh: Rc<Mesh<Accepted, ()>>) {
        let seen = Rc::new(Seen::default());
        let connections = Connections::new(NetConfig::default(), Echo(seen));
        let adopting = Rc::clone(&connections);
        mesh.serve(move |_, accepted| {
            adopting.adopt(accepted);
            Box::pin(std::future::ready(()))
        });
        if mesh.shard() == ShardId(1) {
            while connections.is_empty() {
                host::sleep(Duration::from_millis(1)).await;
            }
            connections.emptied().await;
            return;
        }
        let listener = Listener::bind("localhost", 0).await.expect("binds");
        let address = listener.addresses()[0];
        let acceptor = Acceptor::new(AcceptLimits::default());
        let place = move |accepted| host::spawn_detached(mesh.cast(ShardId(1), accepted));
        host::spawn_detached(Rc::clone(&acceptor).run(listener, 0, place));
        let mut clients = Vec::new();
        for name in 0..10 {
            let client = Client { stream: Stream::connect(address).await.expect("connects") };
            client.ask(Op::EchoLater, &[name]).await;
            assert_eq!(client.reply().await, [name]);
            clients.push(client);
        }
        assert!(connections.is_empty());
        assert_eq!(acceptor.connections(), 10);
        drop(clients);
        while acceptor.connections() > 0 {
            host::sleep(Duration::from_millis(1)).await;
        }
    }

    let seats: Vec<Option<Seat<Accepted, ()>>> = mesh::seats(2, 4).into_iter().map(Some).collect();
    let seats = Arc::new(Mutex::new(seats));
    let specs = (0..2).map(|shard| ShardSpec { shard: ShardId(shard), cpu: None }).collect();
    host::run_shards(specs, move |shard| {
        let seat = seats.lock().expect("no panic")[usize::from(shard.0)].take().expect("one per shard");
        async move { serve(seat.open()).await }
    })
    .expect("both shards start");
}

#[test]
fn a_request_starts_when_it_can_see_what_those_before_it_do() {
    host::run_local(async {
        let server = Server::start(NetConfig::default()).await;
        let (client, other) = (server.connect().await, server.connect().await);
        let wire = [
            request(Op::EchoReleased, b"append"),
            request(Op::Echo, b"append beside it"),
            request_of(ApiKey::Metadata, Op::EchoLater, b"behind both"),
            request_of(ApiKey::Fetch, Op::Echo, b"behind it"),
        ];
        client.send(&wire.concat()).await;
        server.has_started(2).await;
        for _ in 0..20 {
            other.ask(Op::EchoLater, b"time passes").await;
            other.reply().await;
        }
        assert_eq!(server.seen.started.borrow().len(), 22, "the others wait for the first");
        server.release();
        for expected in [&b"append"[..], b"append beside it", b"behind both", b"behind it"] {
            assert_eq!(client.reply().await, expected);
        }
        drop((client, other));
        server.is_clean().await;
    });
}

#[test]
fn requests_behind_a_fetch_that_waits_start_in_turn() {
    host::run_local(async {
        let server = Server::start(NetConfig::default()).await;
        let client = server.connect().await;
        let behind = request_of(ApiKey::Metadata, Op::EchoLater, b"behind");
        let wire = [request_of(ApiKey::Fetch, Op::EchoReleased, b"fetch"), behind.clone(), behind];
        client.send(&wire.concat()).await;
        server.has_started(3).await;
        assert_eq!(server.seen.most_in_progress.get(), 2, "one of them at a time");
        server.release();
        for expected in [&b"fetch"[..], b"behind", b"behind"] {
            assert_eq!(client.reply().await, expected);
        }
        drop(client);
        server.is_clean().await;
    });
}

/// A Fetch that waits for records would hold the replies behind it for as long as its client likes, and with them the
/// memory that there is for all replies of the shard.
#[test]
fn a_fetch_does_not_wait_while_replies_wait_behind_it() {
    host::run_local(async {
        let config = NetConfig { memory_bytes_max: 4 << 20, ..NetConfig::default() };
        let server = Server::start(config).await;
        let client = server.connect().await;
        let waits = request_of(ApiKey::Fetch, Op::UntilHurried, b"waits");
        client.send(&waits).await;
        server.has_started(1).await;
        host::sleep(Duration::from_millis(5)).await;
        assert_eq!(server.seen.in_progress.get(), 1, "it waits while it is alone");
        let large = request_of(ApiKey::Metadata, Op::Memory, &(3u32 << 20).to_be_bytes());
        client.send(&[large, waits].concat()).await;
        assert_eq!(client.reply().await.len(), 3 << 20);
        server.has_started(3).await;
        host::sleep(Duration::from_millis(5)).await;
        assert_eq!(server.seen.in_progress.get(), 1, "the next one waits again");
        let other = server.connect().await;
        other.send(&request_of(ApiKey::Fetch, Op::Echo, b"another's")).await;
        assert_eq!(other.reply().await, b"another's");
        drop((client, other));
        server.is_clean().await;
    });
}
