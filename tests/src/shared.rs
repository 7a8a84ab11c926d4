//! One system for all tests of a program, for those that neither kill nor freeze anything. Each
//! test has orders of its own in it.

use crate::{
    Failure,
    client::Api,
    stack::{PROCESSES, Stack},
};
use tokio::sync::OnceCell;

static STACK: OnceCell<Stack> = OnceCell::const_new();

/// The system, started by the first test that asks and ended with the program. The client is the
/// test's own: connections live in the runtime of the test that opened them.
///
/// # Errors
/// It did not start; the next test tries again.
pub async fn system() -> Result<(&'static Stack, Api), Failure> {
    let stack = STACK
        .get_or_try_init(|| async {
            let stack = Stack::start(&[]).await?;
            #[allow(unsafe_code, reason = "a static is never dropped, and its processes must end")]
            // SAFETY: the function is `extern "C"`, takes nothing and does not unwind.
            let res = unsafe { libc::atexit(end) };
            if res == 0 { Ok(stack) } else { Err("failed to ask for an end".to_owned()) }
        })
        .await?;
    Ok((stack, Api::of(stack.env())?))
}

/// What fails here cannot be told to anybody any more.
extern "C" fn end() {
    let Some(stack) = STACK.get() else { return };
    for process in PROCESSES {
        let _killed = stack.signal(process, libc::SIGKILL);
    }
    let _removed = std::fs::remove_dir_all(stack.dir());
}
