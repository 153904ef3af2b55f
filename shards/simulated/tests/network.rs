//! Sockets of the simulated network: order, bounds, ends, resets and faults.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use ottla_shards::host::sim::{CrashModel, NetworkFaults, NodeId, ProcessId, ProcessState, World};
use ottla_shards::host::{
    self, AlignedBuf, Durability, File, Listener, OpenHow, Shutdown, Stream, WriteSlice,
};

const LIMIT: Duration = Duration::from_secs(600);
const PORT: u16 = 9000;

/// A world with a server that gives its first connection to `serve`, and a client that gets one to it.
struct Pair {
    world: World,
    nodes: [NodeId; 2],
    server: ProcessId,
    client: ProcessId,
}

impl Pair {
    fn new<S, C>(
        seed: u64,
        serve: impl FnOnce(Stream) -> S + 'static,
        ask: impl FnOnce(Stream) -> C + 'static,
    ) -> Pair
    where
        S: Future<Output = ()> + 'static,
        C: Future<Output = ()> + 'static,
    {
        let world = World::new(seed);
        let nodes = [world.add_node("server"), world.add_node("client")];
        let server = world.start_client(nodes[0], async move {
            let listener = Listener::bind("", PORT).await.expect("binds");
            let seed = listener.accept().await.expect("accepts");
            serve(Stream::from_seed(seed)).await;
        });
        let address = SocketAddr::new(world.address(nodes[0]), PORT);
        let client = world.start_client(nodes[1], async move {
            host::sleep(Duration::from_millis(1)).await;
            ask(Stream::connect(address).await.expect("connects")).await;
        });
        Pair { world, nodes, server, client }
    }

    fn run(&self) {
        let Pair { world, server, client, .. } = self;
        let is_over =
            || [*server, *client].iter().all(|process| world.state(*process) != ProcessState::Running);
        assert!(
            world.run_until(is_over, LIMIT),
            "not over: {:?} {:?}",
            world.state(*server),
            world.state(*client)
        );
        assert_eq!(world.state(*server), ProcessState::Ended);
        assert_eq!(world.state(*client), ProcessState::Ended);
    }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at ^ at >> 8) as u8).collect()
}

async fn receive_all(stream: &Stream) -> std::io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 10_000]);
    loop {
        match stream.receive(&mut buffer).await? {
            0 => return Ok(all),
            got => all.extend_from_slice(&buffer[..got]),
        }
    }
}

#[test]
fn bytes_come_whole_and_in_order_and_a_half_closed_stream_still_answers() {
    for seed in 0..10 {
        let pair = Pair::new(
            seed,
            |stream| async move {
                let got = receive_all(&stream).await.expect("receives");
                assert!(got == pattern(1_000_000));
                stream.send_vectored(&[IoSlice::new(b"thanks")]).await.expect("sends");
            },
            |stream| async move {
                let bytes = pattern(1_000_000);
                let parts: Vec<IoSlice<'_>> = bytes.chunks(777).map(IoSlice::new).collect();
                stream.send_vectored(&parts).await.expect("sends");
                stream.shutdown(Shutdown::Write).expect("shuts down");
                assert_eq!(receive_all(&stream).await.expect("receives"), b"thanks");
            },
        );
        pair.run();
        assert!(pair.world.network().connections().is_empty());
    }
}

#[test]
fn a_sender_waits_for_a_slow_reader() {
    let taken = Rc::new(Cell::new(0));
    let seen = Rc::clone(&taken);
    let pair = Pair::new(
        1,
        |stream| async move {
            stream.set_buffers(None, Some(16 << 10)).expect("sets");
            host::sleep(Duration::from_secs(5)).await;
            assert_eq!(receive_all(&stream).await.expect("receives").len(), 1 << 20);
        },
        move |stream| async move {
            host::sleep(Duration::from_secs(1)).await;
            let bytes = vec![1; 1 << 20];
            while seen.get() < bytes.len() {
                match stream.try_send(&[IoSlice::new(&bytes[seen.get()..])], false).expect("sends") {
                    Some(sent) => seen.set(seen.get() + sent),
                    None => stream.writable().await.expect("waits"),
                }
            }
        },
    );
    pair.world.run_for(Duration::from_secs(4));
    assert!((1..=16 << 10).contains(&taken.get()), "{}", taken.get());
    pair.run();
}

#[test]
fn a_peer_that_closes_with_bytes_unread_resets() {
    let pair = Pair::new(
        2,
        |stream| async move {
            stream.readable().await.expect("waits");
            drop(stream);
        },
        |stream| async move {
            stream.send_vectored(&[IoSlice::new(b"for nobody")]).await.expect("sends");
            let error = receive_all(&stream).await.expect_err("is reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            let error = stream.send_vectored(&[IoSlice::new(b"more")]).await.expect_err("is gone");
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        },
    );
    pair.run();
}

#[test]
fn shutting_both_directions_ends_the_waits_of_other_tasks() {
    let pair = Pair::new(
        3,
        |stream| async move { assert!(receive_all(&stream).await.expect("receives").is_empty()) },
        |stream| async move {
            let waiting = stream.clone();
            let task = host::spawn(async move { receive_all(&waiting).await.expect("ends").len() });
            host::sleep(Duration::from_millis(5)).await;
            stream.shutdown(Shutdown::Both).expect("shuts down");
            assert_eq!(task.await, 0);
        },
    );
    pair.run();
}

#[test]
fn nobody_listens_where_nobody_listens_and_a_port_is_taken_once() {
    let world = World::new(4);
    let node = world.add_node("one");
    let client = world.start_client(node, async {
        let nowhere = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1);
        let error = Stream::connect(nowhere).await.expect_err("is refused");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let first = Listener::bind("localhost", 0).await.expect("binds");
        let error = Listener::bind("", first.port()).await.err().expect("is taken");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let port = first.port();
        drop(first);
        Listener::bind("", port).await.expect("binds");
        let error = Listener::bind("10.9.9.9", 0).await.err().expect("is not here");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    });
    world.run_for(LIMIT);
    assert_eq!(world.state(client), ProcessState::Ended);
}

#[test]
fn a_cut_lets_exactly_so_many_bytes_through() {
    let got = Rc::new(RefCell::new(Vec::new()));
    let place = Rc::clone(&got);
    let pair = Pair::new(
        5,
        |stream| async move {
            let mut buffer = [0; 100];
            let error = loop {
                match stream.receive(&mut buffer).await {
                    Ok(got) => place.borrow_mut().extend_from_slice(&buffer[..got]),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        },
        |stream| async move {
            host::sleep(Duration::from_secs(1)).await;
            stream.send_vectored(&[IoSlice::new(&pattern(5_000))]).await.expect("is taken");
            stream.readable().await.expect("waits");
            assert!(receive_all(&stream).await.is_err());
        },
    );
    pair.world.run_for(Duration::from_millis(500));
    let connection = pair.world.network().connections()[0].id;
    pair.world.network().cut_to_server(connection, 1_234);
    pair.run();
    assert!(*got.borrow() == pattern(5_000)[..1_234]);
}

#[test]
fn a_stall_and_a_partition_hold_back_and_lose_nothing() {
    let came = Rc::new(Cell::new(0u64));
    let at = Rc::clone(&came);
    let pair = Pair::new(
        6,
        |stream| async move {
            for _ in 0..2 {
                let mut byte = [0];
                assert_eq!(stream.receive(&mut byte).await.expect("receives"), 1);
                at.set(host::now().0);
            }
        },
        |stream| async move {
            for second in [2, 10] {
                host::sleep_until(ottla::time::Monotonic(second * 1_000_000_000)).await;
                stream.send_vectored(&[IoSlice::new(b"x")]).await.expect("sends");
            }
            host::sleep(Duration::from_secs(30)).await;
        },
    );
    let world = &pair.world;
    world.run_for(Duration::from_secs(1));
    let network = world.network();
    network.stall(network.connections()[0].id, Duration::from_secs(3));
    world.run_for(Duration::from_secs(5));
    assert!((4_000_000_000..4_100_000_000).contains(&came.get()), "{}", came.get());
    network.part(pair.nodes[0], pair.nodes[1]);
    world.run_for(Duration::from_secs(10));
    assert!(came.get() < 5_000_000_000);
    network.join(pair.nodes[1], pair.nodes[0]);
    pair.run();
    assert!((16_000_000_000..16_500_000_000).contains(&came.get()), "{}", came.get());
}

#[test]
fn chance_cuts_and_refuses_as_often_as_it_is_told() {
    let pair = Pair::new(
        7,
        |stream| async move { assert!(receive_all(&stream).await.is_err()) },
        |stream| async move {
            let bytes = pattern(100);
            while stream.send_vectored(&[IoSlice::new(&bytes)]).await.is_ok() {
                host::sleep(Duration::from_millis(1)).await;
            }
            let error = Stream::connect(stream.peer()).await.expect_err("nobody listens any more");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        },
    );
    pair.world.network().set_faults(NetworkFaults {
        cut_per_million: 10_000,
        stall_per_million: 10_000,
        stall_max: Duration::from_millis(50),
        ..NetworkFaults::NONE
    });
    pair.run();
}

#[test]
fn the_peers_of_a_killed_process_see_its_end_and_those_of_a_dead_machine_a_reset_later() {
    for has_power in [true, false] {
        let pair = Pair::new(
            8,
            |stream| async move {
                std::future::pending::<()>().await;
                drop(stream);
            },
            move |stream| async move {
                let outcome = receive_all(&stream).await;
                assert_eq!(outcome.is_ok(), has_power, "{outcome:?}");
            },
        );
        let world = &pair.world;
        world.run_for(Duration::from_secs(1));
        if has_power {
            world.kill(pair.server);
        } else {
            world.power_cut(pair.nodes[0], CrashModel::DropAll);
        }
        assert_eq!(world.state(pair.client), ProcessState::Running);
        assert!(world.run_until(|| world.state(pair.client) != ProcessState::Running, LIMIT));
        assert_eq!(world.state(pair.client), ProcessState::Ended);
    }
}

#[test]
fn a_file_is_sent_as_it_is_and_one_that_is_too_short_is_an_error() {
    let pair = Pair::new(
        9,
        |stream| async move {
            let how = OpenHow { read: true, write: true, create: true, ..OpenHow::default() };
            let file = File::open("/segment", how).await.expect("opens");
            let bytes: Vec<WriteSlice> = vec![AlignedBuf::copy_of(&pattern(900_000)).into()];
            file.write_at(bytes, 0, Durability::None).await.expect("writes");
            stream.send_file(&file.shared_fd(), 3, 899_997).await.expect("sends");
            let error = stream.send_file(&file.shared_fd(), 899_999, 2).await.expect_err("is too short");
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        },
        |stream| async move {
            let got = receive_all(&stream).await.expect("receives");
            assert!(got[..899_997] == pattern(900_000)[3..]);
        },
    );
    pair.run();
}
