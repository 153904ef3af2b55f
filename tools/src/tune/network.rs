//! The network: what the kernel allows a broker's sockets.

use super::finding::Finding;
use super::root::{Root, bytes};
use super::surroundings::Surroundings;

/// Connections that a listener asks to have waiting.
const BACKLOG: u64 = 4_096;

/// All of them. `socket_bytes`: the larger of the configured `socket.send.buffer.bytes` and
/// `socket.receive.buffer.bytes`; 0 where both leave it to the system.
#[must_use]
pub fn check(root: &Root, at: Surroundings, socket_bytes: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(backlog(root, at));
    findings.extend(buffers(root, at, socket_bytes));
    findings.extend(after_idle(root, at));
    findings
}

fn backlog(root: &Root, at: Surroundings) -> Option<Finding> {
    let limit = root.number("/proc/sys/net/core/somaxconn")?;
    let (name, found) = ("net.core.somaxconn", limit.to_string());
    Some(if limit >= BACKLOG {
        Finding::fine(name, found)
    } else {
        Finding::better(
            name,
            found,
            "clients that all come back at once are refused and wait a second or more",
        )
        .mend(at.on_kernel(&format!("sysctl -w net.core.somaxconn={BACKLOG}")))
    })
}

fn buffers(root: &Root, at: Surroundings, wanted: u64) -> Option<Finding> {
    let read = |name: &str| root.number(&format!("/proc/sys/net/core/{name}"));
    let (send, receive) = (read("wmem_max")?, read("rmem_max")?);
    let (name, found) =
        ("socket buffers", format!("up to {} to send, {} to receive", bytes(send), bytes(receive)));
    Some(if send.min(receive) >= wanted {
        Finding::fine(name, found)
    } else {
        let why = format!("the configuration asks for {}", bytes(wanted));
        let command = format!("sysctl -w net.core.wmem_max={wanted} net.core.rmem_max={wanted}");
        Finding::better(name, found, why).mend(at.on_kernel(&command))
    })
}

fn after_idle(root: &Root, at: Surroundings) -> Option<Finding> {
    const NAME: &str = "net.ipv4.tcp_slow_start_after_idle";
    let value = root.number("/proc/sys/net/ipv4/tcp_slow_start_after_idle")?;
    Some(if value == 0 {
        Finding::fine(NAME, "0")
    } else {
        Finding::better(
            NAME,
            value.to_string(),
            "between machines, a consumer that was idle begins slowly again",
        )
        .mend(at.on_kernel(&format!("sysctl -w {NAME}=0")))
    })
}
