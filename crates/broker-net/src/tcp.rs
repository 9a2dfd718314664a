//! A TCP connection that is made soon and whose death is noticed.
//!
//! A host may have several addresses of which one leads nowhere, most often that of IPv6; and a connection whose other end
//! has vanished says nothing by itself.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// How long one address is tried alone (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// A connection without traffic is asked after so long, so often, and so many times.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(10), Duration::from_secs(5), 3);
/// What was sent and is not acknowledged for so long ends the connection.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// Connects to whichever address of `host`, a name or a number, answers first.
pub(crate) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = in_turn(lookup_host((host, port)).await?.collect());
    let socket = first_of(addresses, TcpStream::connect).await?;
    socket.set_nodelay(true)?;
    if let Err(error) = watch(&socket) {
        // Not every system can: the protocols above notice too, if later.
        tracing::debug!(error = &error as &dyn std::error::Error, "the connection is not watched");
    }
    Ok(socket)
}

fn watch(socket: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let (time, interval, retries) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}

/// The addresses in the order of the resolver, its two families by turns.
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|it| it.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = Vec::with_capacity(first.len() + second.len());
    loop {
        let pair = [first.next(), second.next()];
        if pair.iter().all(Option::is_none) {
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

/// Tries each address a moment after the one before, or as soon as that has failed, and keeps what succeeds first. The
/// first failure is told when none does.
async fn first_of<T, F>(addresses: Vec<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    loop {
        attempts.extend(waiting.next().map(&connect));
        let patience = if waiting.len() > 0 { STAGGER } else { Duration::MAX };
        match timeout(patience, attempts.next()).await {
            Ok(Some(Ok(connected))) => return Ok(connected),
            Ok(Some(Err(error))) => {
                failure.get_or_insert(error);
            }
            Ok(None) => return Err(failure.unwrap_or_else(|| io::Error::other("the name has no address"))),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::io::ErrorKind;

    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_in_the_order_of_the_resolver() {
        let mixed = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let expected = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(in_turn(mixed), expected);
        let expected = addresses(&["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]);
        assert_eq!(in_turn(addresses(&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"])), expected);
        assert_eq!(in_turn(Vec::new()), []);
    }

    /// Port 1 never answers, port 2 refuses, others answer after as many milliseconds.
    async fn simulated(address: SocketAddr) -> io::Result<SocketAddr> {
        match address.port() {
            1 => pending().await,
            2 => Err(ErrorKind::ConnectionRefused.into()),
            3 => Err(ErrorKind::NetworkUnreachable.into()),
            after => {
                tokio::time::sleep(Duration::from_millis(after.into())).await;
                Ok(address)
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_leads_nowhere_holds_up_no_other() {
        for (tried, connected, after) in [
            (&["[::1]:1", "1.1.1.1:30"][..], "1.1.1.1:30", 280),
            (&["[::1]:2", "1.1.1.1:30"], "1.1.1.1:30", 30),
            (&["[::1]:1", "1.1.1.1:1", "[::2]:2", "2.2.2.2:40"], "2.2.2.2:40", 540),
            (&["[::1]:400", "1.1.1.1:1"], "[::1]:400", 400),
            (&["[::1]:400", "1.1.1.1:30"], "1.1.1.1:30", 280),
            (&["[::1]:3000"], "[::1]:3000", 3000),
        ] {
            let began = Instant::now();
            let first = timeout(Duration::from_secs(10), first_of(addresses(tried), simulated)).await.unwrap().unwrap();
            assert_eq!((first.to_string(), began.elapsed().as_millis()), (connected.into(), after), "{tried:?}");
        }
        let failure = first_of(addresses(&["[::1]:3", "1.1.1.1:2"]), simulated).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::NetworkUnreachable);
        assert!(first_of(Vec::new(), simulated).await.is_err());
    }

    #[tokio::test]
    async fn a_connection_is_watched() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = connect("localhost", listener.local_addr().unwrap().port()).await.unwrap();
        assert!(socket.nodelay().unwrap());
        let socket = SockRef::from(&socket);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(10));
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(20)));
    }
}
