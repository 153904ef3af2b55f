//! Clients that lie, stall, flood, or do not read.

use super::*;

/// A budget that a few megabytes use up.
fn tight() -> NetConfig {
    NetConfig { memory_bytes_max: 4 << 20, request_bytes_max: 100 << 20, ..NetConfig::default() }
}

#[test]
fn lengths_out_of_bounds_close_the_connection_after_earlier_replies() {
    host::run_local(async {
        let config = NetConfig { request_bytes_max: 1_000, ..NetConfig::default() };
        let server = Server::start(config).await;
        for length in [-1i32, i32::MIN, 1_001, i32::MAX] {
            let client = server.connect().await;
            client.ask(Op::Echo, b"fine").await;
            assert_eq!(client.reply().await, b"fine");
            client.send(&length.to_be_bytes()).await;
            assert!(client.is_closed().await, "a length of {length}");
        }
        let client = server.connect().await;
        client.ask(Op::Echo, &[1; 997]).await;
        assert_eq!(client.reply().await.len(), 997);
        drop(client);
        server.is_clean().await;
    });
}

#[test]
fn an_empty_frame_is_a_request_too() {
    host::run_local(async {
        let server = Server::start(NetConfig::default()).await;
        let client = server.connect().await;
        client.send(&[0; 4]).await;
        assert!(client.is_closed().await, "the handler closes on it");
        assert_eq!(*server.seen.started.borrow(), [Bytes::new()]);
    });
}

#[test]
fn claims_cost_nothing_and_others_are_served_meanwhile() {
    host::run_local(async {
        let server = Server::start(tight()).await;
        let mut claims = Vec::new();
        for _ in 0..50 {
            let claim = server.connect().await;
            claim.send(&(100i32 << 20).to_be_bytes()).await;
            claim.send(&[0; 1_000]).await;
            claims.push(claim);
        }
        let client = server.connect().await;
        for _ in 0..100 {
            client.ask(Op::EchoLater, b"hello").await;
            assert_eq!(client.reply().await, b"hello");
        }
        assert!(server.connections.memory_taken() <= 50 * (16 << 10) + 1_000);
        drop((claims, client));
        server.is_clean().await;
    });
}

/// However much of it is received in one go: a frame that has arrived all but its last byte is in memory whole.
#[test]
fn what_has_arrived_of_a_frame_is_charged() {
    host::run_local(async {
        let config = NetConfig { memory_bytes_max: 64 << 20, ..tight() };
        let server = Server::start(config).await;
        let length = 24_usize << 20;
        let mut frame = i32::try_from(length).expect("24 MiB").to_be_bytes().to_vec();
        frame.resize(4 + length - 1, 7);
        let client = server.connect().await;
        client.send(&frame).await;
        for _ in 0..2_000 {
            if server.connections.memory_taken() >= length {
                break;
            }
            host::sleep(Duration::from_millis(5)).await;
        }
        let taken = server.connections.memory_taken();
        assert!((length..length + (1 << 20)).contains(&taken), "{taken} bytes are charged");
        drop(client);
        server.is_clean().await;
    });
}

/// Each of these frames is most of the budget, and all of them arrive at once: they would hold each other up if
/// one of them were not let through.
#[test]
fn large_frames_that_together_pass_the_budget_all_get_through() {
    host::run_local(async {
        let server = Server::start(tight()).await;
        let payload: Rc<Vec<u8>> = Rc::new((0..3_000_000u32).map(|at| (at >> 3) as u8).collect());
        let mut clients = Vec::new();
        for _ in 0..8 {
            let (client, payload) = (server.connect().await, Rc::clone(&payload));
            clients.push(host::spawn(async move {
                for _ in 0..2 {
                    client.ask(Op::EchoLater, &payload).await;
                    assert!(client.reply().await == *payload);
                }
            }));
        }
        let most = Rc::new(Cell::new(0));
        let watch = {
            let (connections, most) = (Rc::clone(&server.connections), Rc::clone(&most));
            host::spawn(async move {
                loop {
                    most.set(most.get().max(connections.memory_taken()));
                    host::sleep(Duration::from_micros(100)).await;
                }
            })
        };
        for client in clients {
            client.await;
        }
        watch.cancel();
        server.is_clean().await;
        // The budget, a frame in debt, and the replies, which are counted but cannot wait.
        assert!(most.get() < (4 << 20) + 9 * 3_000_000, "{} bytes were taken", most.get());
    });
}

#[test]
fn a_frame_above_the_whole_budget_is_read_in_debt() {
    host::run_local(async {
        let server = Server::start(NetConfig { memory_bytes_max: 1 << 20, ..tight() }).await;
        let client = server.connect().await;
        let payload = vec![9; 5 << 20];
        let sender = host::spawn({
            let (client, payload) = (client.clone(), payload.clone());
            async move { client.ask(Op::Echo, &payload).await }
        });
        assert!(client.reply().await == payload);
        sender.await;
        drop(client);
        server.is_clean().await;
    });
}

#[test]
fn a_client_that_does_not_read_is_not_read_from_and_does_not_hold_up_others() {
    host::run_local(async {
        let buffer = Some(128 << 10);
        let config = NetConfig { requests_in_progress_max: 1_000, send_buffer_bytes: buffer, ..tight() };
        let server = Server::start(config).await;
        let deaf = server.connect().await;
        deaf.stream.set_buffers(None, buffer).expect("sets");
        let flood: Vec<u8> =
            (0..400).flat_map(|_| request(Op::Memory, &(1u32 << 20).to_be_bytes())).collect();
        deaf.send(&flood).await;
        server.has_started(1).await;
        let client = server.connect().await;
        for _ in 0..50 {
            client.ask(Op::Echo, b"hello").await;
            assert_eq!(client.reply().await, b"hello");
        }
        // What the kernel's buffers took, the one reply that was being sent, and no more.
        let started = server.seen.started.borrow().len() - 50;
        assert!(started < 4, "{started} requests of the deaf client were read");
        assert!(server.connections.memory_taken() < 4 << 20);
        server.connections.close_all();
        server.is_clean().await;
    });
}

/// Clients that ask one after the other for what is more than the socket's buffers hold, and take nothing; at least
/// `begun` of their requests are begun.
async fn ask_and_take_nothing(server: &Server, clients: usize, request: &[u8], begun: usize) -> Vec<Client> {
    let mut deaf = Vec::new();
    for at in 0..clients {
        let client = server.connect().await;
        client.stream.set_buffers(None, server.connections.config.send_buffer_bytes).expect("sets");
        client.send(request).await;
        server.has_started((at + 1).min(begun)).await;
        deaf.push(client);
    }
    deaf
}

#[test]
fn replies_that_nobody_takes_hold_up_reads_and_nothing_else() {
    host::run_local(async {
        let buffer = Some(128 << 10);
        let server = Server::start(NetConfig { send_buffer_bytes: buffer, ..tight() }).await;
        let fetch = request_of(ApiKey::Fetch, Op::Memory, &(1u32 << 20).to_be_bytes());
        let deaf = ask_and_take_nothing(&server, 10, &fetch, 2).await;
        let (writer, reader) = (server.connect().await, server.connect().await);
        reader.send(&fetch).await;
        for _ in 0..50 {
            writer.ask(Op::Echo, &[b'x'; 100_000]).await;
            assert_eq!(writer.reply().await.len(), 100_000);
        }
        let fetches = server.seen.started.borrow().iter().filter(|payload| payload.len() == 4).count();
        assert!(fetches <= 4, "{fetches} were begun, of which two fill the memory for replies");
        assert_eq!(server.connections.len(), 12, "nobody had to be closed for it");
        drop(deaf);
        assert_eq!(reader.reply().await.len(), 1 << 20);
        drop((writer, reader));
        server.is_clean().await;
    });
}

#[test]
fn replies_of_every_kind_are_bounded_where_nobody_takes_them() {
    host::run_local(async {
        let buffer = Some(128 << 10);
        let server = Server::start(NetConfig { send_buffer_bytes: buffer, ..tight() }).await;
        let describe = request_of(ApiKey::Metadata, Op::Memory, &(1u32 << 20).to_be_bytes());
        let deaf = ask_and_take_nothing(&server, 20, &describe, 4).await;
        let (reader, producer) = (server.connect().await, server.connect().await);
        reader.send(&describe).await;
        for _ in 0..50 {
            producer.ask(Op::Echo, b"appended").await;
            assert_eq!(producer.reply().await, b"appended");
        }
        let described = server.seen.started.borrow().iter().filter(|payload| payload.len() == 4).count();
        assert!(described <= 6, "{described} were begun, of which four fill twice the memory for replies");
        assert!(server.connections.memory_is_short(), "whoever stands still is closed for it");
        drop(deaf);
        assert_eq!(reader.reply().await.len(), 1 << 20);
        drop((reader, producer));
        server.is_clean().await;
    });
}

/// One goes while its request waits and everything it sent was read; the other one behind a request that was not read.
#[test]
fn a_client_that_goes_takes_its_connection_along_whatever_its_requests_wait_for() {
    host::run_local(async {
        let server = Server::start(NetConfig { requests_in_progress_max: 2, ..NetConfig::default() }).await;
        let (seen, unseen) = (server.connect().await, server.connect().await);
        seen.ask(Op::EchoReleased, b"never").await;
        for _ in 0..3 {
            unseen.ask(Op::EchoReleased, b"never").await;
        }
        server.has_started(3).await;
        drop((seen, unseen));
        server.connections.emptied().await;
        assert_eq!(server.seen.in_progress.get(), 3, "the requests wait on");
        assert_eq!(server.acceptor.connections(), 0, "and hold no place");
        server.release();
        server.is_clean().await;
    });
}

#[test]
fn an_idle_connection_is_closed_and_one_that_waits_for_us_is_not() {
    host::run_local(async {
        let server = Server::start(NetConfig { idle_ms_max: 150, ..NetConfig::default() }).await;
        let (idle, waiting) = (server.connect().await, server.connect().await);
        waiting.ask(Op::EchoReleased, b"x").await;
        idle.ask(Op::Echo, b"y").await;
        assert_eq!(idle.reply().await, b"y");
        assert!(idle.is_closed().await);
        assert_eq!(server.connections.len(), 1);
        host::sleep(Duration::from_millis(200)).await;
        server.release();
        assert_eq!(waiting.reply().await, b"x");
        assert!(waiting.is_closed().await);
        server.is_clean().await;
    });
}

#[test]
fn a_client_that_stops_in_the_middle_of_a_frame_is_closed_when_idle() {
    host::run_local(async {
        let server = Server::start(NetConfig { idle_ms_max: 10, ..NetConfig::default() }).await;
        let client = server.connect().await;
        client.send(&request(Op::Echo, b"never whole")[..9]).await;
        assert!(client.is_closed().await);
        server.is_clean().await;
        assert!(server.seen.started.borrow().is_empty());
    });
}

#[test]
fn connections_above_the_limit_are_closed_at_once() {
    host::run_local(async {
        let limits = AcceptLimits { connections_max: 2, ..AcceptLimits::default() };
        let server = Server::start_within(NetConfig::default(), limits).await;
        let (one, two) = (server.connect().await, server.connect().await);
        for client in [&one, &two] {
            client.ask(Op::Echo, b"x").await;
            assert_eq!(client.reply().await, b"x");
        }
        assert!(server.connect().await.is_closed().await);
        drop(one);
        while server.acceptor.connections() == 2 {
            host::sleep(Duration::from_micros(200)).await;
        }
        let three = server.connect().await;
        three.ask(Op::Echo, b"x").await;
        assert_eq!(three.reply().await, b"x");
    });
}

#[test]
fn ten_thousand_connects_and_closes_leave_nothing_behind() {
    host::run_local(async {
        let server = Server::start(NetConfig::default()).await;
        for round in 0..10_000u32 {
            let client = server.connect().await;
            // A third leaves without a word, a third in the middle of a frame, a third with a reply on its way.
            match round % 3 {
                0 => {}
                1 => client.send(&[0, 0, 1]).await,
                _ => client.ask(Op::EchoLater, b"x").await,
            }
        }
        server.is_clean().await;
    });
}
