//! A TCP proxy whose connections can be cut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes connections on to a port of the loopback interface.
pub struct Proxy {
    port: u16,
    /// Every change cuts what is connected.
    gate: watch::Sender<Gate>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    Shut,
}

impl Proxy {
    /// A proxy on a free port, in front of `target`.
    ///
    /// # Panics
    /// There is no free port.
    pub async fn to(target: u16) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], crate::child::free_port()));
        let listener = TcpListener::bind(address).await.expect("a free port can be listened on");
        let (gate, watching) = watch::channel(Gate::Open);
        Self { port: address.port(), gate, accepting: tokio::spawn(accept(listener, target, watching)) }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection there is; new ones are welcome at once.
    pub fn cut(&self) {
        self.gate.send_modify(|_| {});
    }

    /// Cuts every connection, and each new one, until [`Proxy::open`].
    pub fn shut(&self) {
        self.gate.send_replace(Gate::Shut);
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.gate.send_replace(Gate::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: u16, gate: watch::Receiver<Gate>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut gate = gate.clone();
        if *gate.borrow_and_update() == Gate::Open {
            tokio::spawn(async move {
                tokio::select! {
                    _ = gate.changed() => {}
                    () = pass(client, target) => {}
                }
            });
        }
    }
}

/// Passes bytes until either side ends; a target that is not there is an ended one.
async fn pass(mut client: TcpStream, target: u16) {
    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await {
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_pass_until_they_are_cut() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::to(server.local_addr().unwrap().port()).await;
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        client.write_all(b"one").await.unwrap();
        let (mut served, _) = server.accept().await.unwrap();
        let mut bytes = [0; 3];
        served.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"one");
        proxy.cut();
        assert_eq!(client.read(&mut bytes).await.unwrap_or_default(), 0, "the connection has ended");
        proxy.shut();
        let mut refused = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        assert_eq!(refused.read(&mut bytes).await.unwrap_or_default(), 0, "a new one ends at once");
        proxy.open();
        let mut again = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        again.write_all(b"two").await.unwrap();
        let (mut served, _) = server.accept().await.unwrap();
        served.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"two");
    }
}
