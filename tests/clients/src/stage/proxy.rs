//! Passes bytes on to the control plane until told to cut what is open.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A proxy on a port of its own. Stops when dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    address: SocketAddr,
    /// Counts the cuts; a connection ends at the first one after its beginning.
    cuts: Arc<watch::Sender<u64>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(super) async fn start(target: SocketAddrV4) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let cuts = Arc::new(watch::Sender::new(0));
        let accepting = tokio::spawn(accept(listener, target, Arc::clone(&cuts)));
        Ok(Self { address, cuts, accepting })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections are open.
    pub(super) fn open(&self) -> usize {
        self.cuts.receiver_count()
    }

    /// Resets every open connection, wherever in a message it is. How many there were.
    pub(super) fn cut(&self) -> usize {
        let open = self.open();
        self.cuts.send_modify(|cuts| *cuts += 1);
        open
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddrV4, cuts: Arc<watch::Sender<u64>>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(tokio::spawn(pass(client, target, cuts.subscribe()))),
            Err(error) => tracing::warn!(%error, "a connection was not accepted"),
        }
    }
}

async fn pass(mut client: TcpStream, target: SocketAddrV4, mut cut: watch::Receiver<u64>) {
    // Nobody there: the client's connection is closed, as by a proxy that gives up.
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        // An error: the proxy has gone, and its connections with it.
        _ = cut.changed() => {
            // Closed with nothing to linger for, a socket sends a reset.
            let reset = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
            if let Err(error) = reset {
                tracing::warn!(%error, "a connection is closed instead of reset");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn echo() -> SocketAddrV4 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!("bound to IPv4") };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut reader, mut writer) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut reader, &mut writer).await });
            }
        });
        address
    }

    async fn says(stream: &mut TcpStream, word: &[u8; 4]) -> io::Result<[u8; 4]> {
        stream.write_all(word).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_cut_resets_what_is_open_and_nothing_that_comes_later() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut one = TcpStream::connect(proxy.address()).await.unwrap();
        let mut two = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(says(&mut one, b"ping").await.unwrap(), *b"ping");
        assert_eq!(says(&mut two, b"pong").await.unwrap(), *b"pong");
        assert_eq!(proxy.cut(), 2);
        for stream in [&mut one, &mut two] {
            let error = stream.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        let mut later = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(says(&mut later, b"more").await.unwrap(), *b"more");
    }
}
