//! Tests of sockets and of files sent to them, over the loopback interface.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;

use crate::host::{self, AlignedBuf, Durability, File, Listener, OpenHow, Shutdown, Stream, WriteSlice};

/// Both ends of a new connection.
pub(in crate::host::glommio) async fn pair() -> (Stream, Stream) {
    let listener = Listener::bind("127.0.0.1", 0).await.expect("binds");
    let client = Stream::connect(listener.addresses()[0]).await.expect("connects");
    let server = Stream::from_seed(listener.accept().await.expect("accepts"));
    (client, server)
}

/// A megabyte and a bit in which every position shows.
pub(in crate::host::glommio) fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

pub(in crate::host::glommio) async fn receive_all(stream: &Stream, bytes: usize) -> Vec<u8> {
    let mut all = vec![0; bytes];
    let mut got = 0;
    while got < bytes {
        let step = stream.receive(&mut all[got..]).await.expect("receives");
        assert!(step > 0, "the stream ended after {got} of {bytes} bytes");
        got += step;
    }
    all
}

#[test]
fn localhost_listens_on_both_families_on_one_port() {
    host::run_local(async {
        let listener = Listener::bind("localhost", 0).await.expect("binds");
        assert_eq!(listener.addresses()[0].to_string(), format!("127.0.0.1:{}", listener.port()));
        for &address in listener.addresses() {
            assert_eq!(address.port(), listener.port());
            let client = Stream::connect(address).await.expect("connects");
            let seed = listener.accept().await.expect("accepts");
            assert_eq!(seed.peer(), client.local().expect("has an address"));
        }
        let taken = Listener::bind("127.0.0.1", listener.port()).await.map(|_| ()).expect_err("is taken");
        assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    });
}

#[test]
fn a_wildcard_takes_both_families_and_names_ipv4_peers_as_such() {
    host::run_local(async {
        for host in ["", "0.0.0.0", "[::]"] {
            let listener = Listener::bind(host, 0).await.expect("binds");
            let v4 = SocketAddr::from(([127, 0, 0, 1], listener.port()));
            let client = Stream::connect(v4).await.expect("connects");
            let seed = listener.accept().await.expect("accepts");
            assert_eq!(seed.peer(), client.local().expect("has an address"));
            if listener.addresses()[0].is_ipv6() {
                let v6: SocketAddr = format!("[::1]:{}", listener.port()).parse().expect("an address");
                Stream::connect(v6).await.expect("connects");
                assert!(listener.accept().await.expect("accepts").peer().is_ipv6());
            }
        }
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    host::run_local(async {
        let listener = Listener::bind("127.0.0.1", 0).await.expect("binds");
        let address = listener.addresses()[0];
        drop(listener);
        let error = Stream::connect(address).await.expect_err("nobody listens");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn bytes_go_first_into_the_frame_and_then_into_the_rest() {
    host::run_local(async {
        let (client, server) = pair().await;
        assert_eq!(server.try_receive(&mut BytesMut::new(), 0, &mut [0; 8]).expect("tries"), None);
        client.send_vectored(&[IoSlice::new(b"abc"), IoSlice::new(b"defgh")]).await.expect("sends");
        let mut first = BytesMut::with_capacity(64);
        first.extend_from_slice(b">");
        let mut rest = [0; 8];
        server.readable().await.expect("is readable");
        let got = server.try_receive(&mut first, 5, &mut rest).expect("receives");
        assert_eq!(got, Some((5, 3)));
        assert_eq!(&first[..], b">abcde");
        assert_eq!(&rest[..3], b"fgh");
        client.shutdown(Shutdown::Write).expect("ends");
        server.readable().await.expect("is readable");
        assert_eq!(server.try_receive(&mut first, 5, &mut rest).expect("sees the end"), Some((0, 0)));
    });
}

#[test]
fn large_sends_wait_for_a_slow_reader() {
    host::run_local(async {
        let (client, server) = pair().await;
        let sent = pattern(9 << 20);
        let expected = sent.clone();
        let sender = host::spawn(async move {
            let pieces: Vec<IoSlice<'_>> = sent.chunks(5_001).map(IoSlice::new).collect();
            client.send_vectored(&pieces).await.expect("sends");
        });
        host::sleep(Duration::from_millis(5)).await;
        assert_eq!(receive_all(&server, expected.len()).await, expected);
        sender.await;
    });
}

#[test]
fn a_dropped_wait_frees_the_socket_and_leaves_nothing_in_the_ring() {
    host::run_local(async {
        let (client, server) = pair().await;
        let mut wait = Box::pin(server.readable());
        assert_eq!(host::timeout(Duration::from_millis(1), wait.as_mut()).await.err(), Some(host::TimedOut));
        drop(wait);
        drop(server);
        // The peer sees the end: the ring let go of the descriptor.
        assert_eq!(client.receive(&mut [0; 8]).await.expect("ends"), 0);
    });
}

async fn file_of(path: &std::path::Path, bytes: &[u8]) -> File {
    let how = OpenHow { read: true, write: true, create: true, ..OpenHow::default() };
    let file = File::open(path, how).await.expect("opens");
    let slices: Vec<WriteSlice> = vec![AlignedBuf::copy_of(bytes).into()];
    file.write_at(slices, 0, Durability::DataSync).await.expect("writes");
    file
}

#[test]
fn file_ranges_arrive_whole_from_a_warm_and_from_a_cold_cache() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("segment");
    host::run_local(async move {
        let bytes = pattern(3 << 20);
        let file = file_of(&path, &bytes).await;
        for (cold, position, length) in [(false, 0, 3 << 20), (true, 0, 3 << 20), (true, 4_097, 700_001)] {
            if cold {
                let fd = std::os::fd::AsRawFd::as_raw_fd(&file.shared_fd());
                // SAFETY: no pointers are passed.
                unsafe { libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_DONTNEED) };
            }
            let (client, server) = pair().await;
            let fd = file.shared_fd();
            let sender = host::spawn(async move {
                server.send_file(&fd, position as u64, length as u64).await.expect("sends");
            });
            assert_eq!(receive_all(&client, length).await, &bytes[position..position + length]);
            sender.await;
        }
    });
}

#[test]
fn a_range_beyond_the_file_is_an_error() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("segment");
    host::run_local(async move {
        let file = file_of(&path, b"short").await;
        let (_client, server) = pair().await;
        let error = server.send_file(&file.shared_fd(), 0, 6).await.expect_err("is too short");
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    });
}
