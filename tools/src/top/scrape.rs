//! Gets a page over HTTP/1.1: one request, one connection, nothing kept.
//!
//! Blocking, with a limit on time and bytes. No shard owns it; nothing is on disk.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::TopError;

/// How long a connection, a write and each read may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of a page: far above that of the largest machine.
const PAGE_BYTES_MAX: u64 = 256 << 20;

/// The text that `place` (`HOST:PORT`) serves at `/metrics`.
///
/// # Errors
/// One line that says what to do.
pub fn page(place: &str) -> Result<String, TopError> {
    let mut stream = connect(place)?;
    let failed = |error: &std::io::Error| TopError::Failed { place: place.to_owned(), why: why(error) };
    let request =
        format!("GET /metrics HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\nAccept: text/plain\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| failed(&error))?;
    let mut reply = Vec::new();
    stream.take(PAGE_BYTES_MAX).read_to_end(&mut reply).map_err(|error| failed(&error))?;
    body(&reply).ok_or_else(|| TopError::Stranger { place: place.to_owned() })
}

fn why(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    }
}

fn connect(place: &str) -> Result<TcpStream, TopError> {
    let failed = |why: String| TopError::Failed { place: place.to_owned(), why };
    if !is_place(place) {
        return Err(TopError::NoPlace { place: place.to_owned() });
    }
    let addresses = place.to_socket_addrs().map_err(|error| failed(error.to_string()))?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                let limits =
                    stream.set_read_timeout(Some(PATIENCE)).and(stream.set_write_timeout(Some(PATIENCE)));
                limits.map_err(|error| failed(error.to_string()))?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if error.kind() != ErrorKind::ConnectionRefused => Err(failed(why(&error))),
        _ => Err(TopError::Nobody { place: place.to_owned() }),
    }
}

/// Whether it has the form of a host, which may be a name, and a port.
fn is_place(place: &str) -> bool {
    place.rsplit_once(':').is_some_and(|(host, port)| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = bare.map_or(!host.contains([':', '/']), |bare| bare.contains(':'));
        !host.is_empty() && is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// The body of a reply that is whole and a success.
fn body(reply: &[u8]) -> Option<String> {
    let head_ends = reply.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&reply[..head_ends]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?;
    if !status.starts_with("HTTP/1.") || status.split(' ').nth(1) != Some("200") {
        return None;
    }
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    let length: usize = length.1.trim().parse().ok()?;
    let body = &reply[head_ends + 4..];
    if body.len() != length {
        return None;
    }
    String::from_utf8(body.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_reply_is_taken_and_no_other() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\n\r\nup 1\n";
        assert_eq!(body(whole).as_deref(), Some("up 1\n"));
        assert_eq!(body(&whole[..whole.len() - 1]), None, "cut short");
        assert_eq!(body(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"), None);
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n\r\nup 1\n"), None, "nobody knows whether that is all");
        assert_eq!(body(b"SSH-2.0-OpenSSH\r\n"), None);
    }

    #[test]
    fn what_is_no_place_is_told_with_the_flag_and_the_form() {
        for place in
            ["foo", "", ":9644", "foo:", "foo:99999", "foo:0", "http://foo:9644", "::1:9644", "http://foo"]
        {
            let line = page(place).expect_err("no place").to_string();
            let expected = format!("--metrics {place}: must be HOST:PORT, as localhost:9644 or [::1]:9644");
            assert_eq!(line, expected);
        }
        assert!(["foo:1", "localhost:9644", "10.0.0.1:9644", "[::1]:9644"].into_iter().all(is_place));
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let named = format!("localhost:{}", free.local_addr().expect("it is bound").port());
        drop(free);
        assert!(matches!(page(&named), Err(TopError::Nobody { .. })), "a name is looked up");
    }

    #[test]
    fn nobody_there_is_told_with_the_setting() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let place = free.local_addr().expect("it is bound").to_string();
        drop(free);
        let line = page(&place).expect_err("nobody listens").to_string();
        assert!(line.contains(&place) && line.contains("metrics.listener"), "{line}");
        assert!(!line.contains('\n'));
    }
}
