//! Socket addresses and options as the kernel takes them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::file::checked;

/// Connections that may wait to be accepted; the kernel's `somaxconn` caps it.
const BACKLOG: libc::c_int = 4096;

pub(super) fn new_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(family, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A listening socket; an IPv6 one takes IPv4 connections too unless `only_its_family`.
pub(super) fn listen_on(address: SocketAddr, only_its_family: bool) -> io::Result<OwnedFd> {
    let socket = new_socket(address)?;
    let fd = socket.as_raw_fd();
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if address.is_ipv6() {
        set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, i32::from(only_its_family))?;
    }
    let (storage, length) = to_storage(address);
    // SAFETY: the pointer and length describe `storage`; the call copies it.
    checked(unsafe { libc::bind(fd, (&raw const storage).cast(), length) })?;
    // SAFETY: no pointers are passed.
    checked(unsafe { libc::listen(fd, BACKLOG) })?;
    Ok(socket)
}

/// Begins to connect; `false` when it is under way.
pub(super) fn start_connect(fd: RawFd, address: SocketAddr) -> io::Result<bool> {
    let (storage, length) = to_storage(address);
    // SAFETY: the pointer and length describe `storage`; the call copies it.
    match checked(unsafe { libc::connect(fd, (&raw const storage).cast(), length) }) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes a waiting connection, non-blocking, with its peer's address.
pub(super) fn accept(listener: RawFd) -> io::Result<(OwnedFd, SocketAddr)> {
    let (mut storage, mut length) = empty_storage();
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the pointers lead to `storage` and its length.
    let fd = unsafe { libc::accept4(listener, (&raw mut storage).cast(), &raw mut length, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok((fd, from_storage(&storage)?))
}

pub(super) fn set_option(
    fd: RawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("four");
    // SAFETY: the pointer and length describe `value`.
    checked(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) })
}

/// The error that a socket keeps, cleared by reading it.
pub(super) fn take_error(fd: RawFd) -> io::Result<()> {
    let mut value: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("four");
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ERROR);
    // SAFETY: the pointers lead to `value` and its length.
    checked(unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut length) })?;
    if value == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(value)) }
}

pub(super) fn local_address(fd: RawFd) -> io::Result<SocketAddr> {
    let (mut storage, mut length) = empty_storage();
    // SAFETY: the pointers lead to `storage` and its length.
    checked(unsafe { libc::getsockname(fd, (&raw mut storage).cast(), &raw mut length) })?;
    from_storage(&storage)
}

fn empty_storage() -> (libc::sockaddr_storage, libc::socklen_t) {
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>()).expect("128");
    // SAFETY: all zero bits are a value of the type.
    (unsafe { std::mem::zeroed() }, length)
}

fn family(number: libc::c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(number).expect("address families are small")
}

fn to_storage(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    let (mut storage, _) = empty_storage();
    let bytes = match address {
        SocketAddr::V4(address) => {
            // SAFETY: a sockaddr_storage is large enough and aligned for a sockaddr_in.
            let place = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in>() };
            place.sin_family = family(libc::AF_INET);
            place.sin_port = address.port().to_be();
            place.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(address) => {
            // SAFETY: a sockaddr_storage is large enough and aligned for a sockaddr_in6.
            let place = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in6>() };
            place.sin6_family = family(libc::AF_INET6);
            place.sin6_port = address.port().to_be();
            place.sin6_addr.s6_addr = address.ip().octets();
            place.sin6_scope_id = address.scope_id();
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, libc::socklen_t::try_from(bytes).expect("below 128"))
}

/// An IPv4 peer of a dual-stack socket becomes an IPv4 address.
fn from_storage(storage: &libc::sockaddr_storage) -> io::Result<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in.
            let place = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(place.sin_addr.s_addr.to_ne_bytes());
            Ok(SocketAddrV4::new(ip, u16::from_be(place.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is a sockaddr_in6.
            let place = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let (ip, port) = (Ipv6Addr::from(place.sin6_addr.s6_addr), u16::from_be(place.sin6_port));
            match ip.to_ipv4_mapped() {
                Some(ip) => Ok(SocketAddrV4::new(ip, port).into()),
                None => Ok(SocketAddrV6::new(ip, port, 0, place.sin6_scope_id).into()),
            }
        }
        _ => Err(io::Error::from(io::ErrorKind::Unsupported)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernels_form() {
        for text in ["1.2.3.4:5", "[2001:db8::7]:65535", "[::1]:0"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(from_storage(&to_storage(address).0).expect("a known family"), address);
        }
        let mapped: SocketAddr = "[::ffff:1.2.3.4]:5".parse().expect("an address");
        let plain: SocketAddr = "1.2.3.4:5".parse().expect("an address");
        assert_eq!(from_storage(&to_storage(mapped).0).expect("a known family"), plain);
    }
}
