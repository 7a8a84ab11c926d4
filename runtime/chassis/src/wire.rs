//! A way to a server that can be cut, or stand still, for tests.

use std::io;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Passes,
    StandsStill,
    IsCut,
}

/// Passes TCP connections on to a port of this machine.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    state: watch::Sender<State>,
}

impl Wire {
    /// Ends with the tokio runtime in which it is made.
    ///
    /// # Errors
    /// No port is free.
    pub async fn to(server: u16) -> io::Result<Wire> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (state, seen) = watch::channel(State::Passes);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let seen = seen.clone();
                if *seen.borrow() != State::IsCut {
                    tokio::spawn(pass_on(client, server, seen));
                }
            }
        });
        Ok(Wire { port, state })
    }

    /// Where it begins.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends all connections, and takes no others until it is mended.
    pub fn cut(&self) {
        self.state.send_replace(State::IsCut);
    }

    /// Holds back all that is sent until it is mended, and loses nothing.
    pub fn stand_still(&self) {
        self.state.send_replace(State::StandsStill);
    }

    /// Takes connections again, and goes on.
    pub fn mend(&self) {
        self.state.send_replace(State::Passes);
    }
}

async fn pass_on(client: TcpStream, server: u16, mut seen: watch::Receiver<State>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let ((from, to), (back, there)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = pass(from, there, seen.clone()) => (),
        () = pass(back, to, seen.clone()) => (),
        _ = seen.wait_for(|it| *it == State::IsCut) => (),
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut seen: watch::Receiver<State>,
) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        if seen.wait_for(|it| *it != State::StandsStill).await.is_err()
            || to.write_all(&chunk[..read]).await.is_err()
        {
            return;
        }
    }
}
