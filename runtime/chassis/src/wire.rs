//! A way to a server that can be cut, stand still, be narrow, or break at certain words, for tests.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Passes,
    StandsStill,
    IsCut,
}

/// Breaks a connection whose client says these words.
#[derive(Clone, Copy, Debug)]
struct Trap {
    words: &'static str,
    /// How often it springs yet.
    times: usize,
    /// The server has the words, and its answer, which has these, is lost with the connection.
    answer: Option<&'static str>,
}

/// Passes TCP connections on to a port of this machine.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    state: watch::Sender<State>,
    trap: Arc<Mutex<Option<Trap>>>,
    bytes_per_ms: Arc<AtomicU32>,
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
        let (trap, bytes_per_ms) = (Arc::default(), Arc::new(AtomicU32::new(u32::MAX)));
        let wire =
            Wire { port, state, trap: Arc::clone(&trap), bytes_per_ms: Arc::clone(&bytes_per_ms) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (seen, trap) = (seen.clone(), Arc::clone(&trap));
                if *seen.borrow() != State::IsCut {
                    tokio::spawn(pass_on(client, server, seen, trap, bytes_per_ms.clone()));
                }
            }
        });
        Ok(wire)
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

    /// Lets no more pass than so many bytes in a millisecond, each way.
    pub fn narrow(&self, bytes_per_ms: u32) {
        self.bytes_per_ms.store(bytes_per_ms.max(1), Ordering::Relaxed);
    }

    /// Takes connections again, and goes on.
    pub fn mend(&self) {
        self.state.send_replace(State::Passes);
    }

    /// Breaks the connection before the server hears these words, so many times.
    pub fn break_at(&self, words: &'static str, times: usize) {
        self.set(Trap { words, times, answer: None });
    }

    /// Breaks the connection once, when the server has answered these words with those others.
    pub fn lose_answer(&self, words: &'static str, answer: &'static str) {
        self.set(Trap { words, times: 1, answer: Some(answer) });
    }

    /// How often it is still to break.
    #[must_use]
    pub fn breaks_left(&self) -> usize {
        lock(&self.trap).map_or(0, |it| it.times)
    }

    fn set(&self, trap: Trap) {
        *lock(&self.trap) = Some(trap);
    }
}

fn lock(trap: &Mutex<Option<Trap>>) -> MutexGuard<'_, Option<Trap>> {
    // Nothing panics while it holds the lock.
    trap.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The trap, if it springs at what was said.
fn springs(trap: &Mutex<Option<Trap>>, said: &[u8]) -> Option<Trap> {
    let mut trap = lock(trap);
    let it = trap.as_mut().filter(|it| 0 < it.times && has(said, it.words))?;
    it.times -= 1;
    Some(*it)
}

fn has(said: &[u8], words: &str) -> bool {
    said.windows(words.len()).any(|it| it == words.as_bytes())
}

async fn pass_on(
    client: TcpStream,
    server: u16,
    mut seen: watch::Receiver<State>,
    trap: Arc<Mutex<Option<Trap>>>,
    bytes_per_ms: Arc<AtomicU32>,
) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let ((from, to), (back, there)) = (client.into_split(), server.into_split());
    // What the server must have answered before the connection breaks.
    let (lose, lost) = watch::channel(None);
    let of_client = |said: &[u8]| {
        let Some(trap) = springs(&trap, said) else { return Then::Goes };
        let Some(answer) = trap.answer else { return Then::Breaks };
        lose.send_replace(Some(answer));
        Then::Goes
    };
    let of_server = |said: &[u8]| match *lost.borrow() {
        Some(answer) if has(said, answer) => Then::Breaks,
        Some(_) => Then::IsLost,
        None => Then::Goes,
    };
    tokio::select! {
        () = pass(from, there, seen.clone(), &bytes_per_ms, of_client) => (),
        () = pass(back, to, seen.clone(), &bytes_per_ms, of_server) => (),
        _ = seen.wait_for(|it| *it == State::IsCut) => (),
    }
}

/// What becomes of what was said.
enum Then {
    Goes,
    IsLost,
    Breaks,
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut seen: watch::Receiver<State>,
    bytes_per_ms: &AtomicU32,
    then: impl Fn(&[u8]) -> Then,
) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        if seen.wait_for(|it| *it != State::StandsStill).await.is_err() {
            return;
        }
        let takes_ms = read as u64 / u64::from(bytes_per_ms.load(Ordering::Relaxed));
        if 0 < takes_ms {
            sleep(Duration::from_millis(takes_ms)).await;
        }
        match then(&chunk[..read]) {
            Then::Breaks => return,
            Then::IsLost => (),
            Then::Goes if to.write_all(&chunk[..read]).await.is_err() => return,
            Then::Goes => (),
        }
    }
}
