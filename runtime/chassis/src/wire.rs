//! A way to a server that can be cut, for tests.

use std::io;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes TCP connections on to a port of this machine, as long as it is not cut.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    is_cut: watch::Sender<bool>,
}

impl Wire {
    /// Ends with the tokio runtime in which it is made.
    ///
    /// # Errors
    /// No port is free.
    pub async fn to(server: u16) -> io::Result<Wire> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (is_cut, cut) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let cut = cut.clone();
                if !*cut.borrow() {
                    tokio::spawn(pass_on(client, server, cut));
                }
            }
        });
        Ok(Wire { port, is_cut })
    }

    /// Where it begins.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends all connections, and takes no others until it is mended.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn pass_on(mut client: TcpStream, server: u16, mut cut: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => (),
        _ = cut.wait_for(|it| *it) => (),
    }
}
