//! Ways to a server that are slow or silent. Each gives the port at which it begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Each byte takes so long, each way; none is lost, and the order stays.
pub(crate) async fn slow(server: u16, ms: Arc<AtomicU64>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let (from, to) = client.into_split();
            let (back, there) = server.into_split();
            tokio::spawn(late(from, there, ms.clone()));
            tokio::spawn(late(back, to, ms.clone()));
        }
    });
    port
}

async fn late(
    mut from: impl AsyncRead + Unpin + Send + 'static,
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    ms: Arc<AtomicU64>,
) {
    let (send, mut bytes) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some((at, said)) = bytes.recv().await {
            tokio::time::sleep_until(at).await;
            let said: Vec<u8> = said;
            if to.write_all(&said).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let at = tokio::time::Instant::now() + Duration::from_millis(ms.load(Ordering::SeqCst));
        if send.send((at, buffer[..n].to_vec())).is_err() {
            return;
        }
    }
}

/// A way to a machine that is down: what connects hears nothing, as of packets that are lost; it is
/// not refused. What connects when the machine is back, is passed on.
pub(crate) async fn silent(
    server: u16,
    down: watch::Receiver<bool>,
    tries: Arc<AtomicUsize>,
) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (mut down, tries) = (down.clone(), tries.clone());
            tokio::spawn(async move {
                if *down.borrow() {
                    tries.fetch_add(1, Ordering::SeqCst);
                    return std::future::pending::<()>().await;
                }
                let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else {
                    return;
                };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => (),
                    _ = down.wait_for(|it| *it) => (),
                }
            });
        }
    });
    port
}
