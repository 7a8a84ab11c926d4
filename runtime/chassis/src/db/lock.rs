use super::OpenError;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::Path,
    process, thread,
    time::{Duration, Instant},
};

/// A holder that is on its way out, or that is starting a child, lets go within milliseconds; one
/// that serves does not.
const LETS_GO_WITHIN: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// An advisory lock with the pid of its holder as text. It is free as soon as the process is gone.
pub(super) struct LockFile {
    _file: File,
}

impl LockFile {
    pub(super) fn take(dir: &Path) -> Result<LockFile, OpenError> {
        let io = |source| OpenError::Io { dir: dir.to_owned(), source };
        let path = dir.join("LOCK");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io)?;
        let given_up = Instant::now() + LETS_GO_WITHIN;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(io(source)),
                Err(TryLockError::WouldBlock) if Instant::now() < given_up => {
                    thread::sleep(LOOK_EVERY);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(OpenError::Locked {
                        dir: dir.to_owned(),
                        pid: read_pid(&mut file),
                    });
                }
            }
        }
        write_pid(&mut file).map_err(io)?;
        Ok(LockFile { _file: file })
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", process::id())
}

fn read_pid(file: &mut File) -> String {
    let mut pid = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut pid));
    match (read, pid.trim()) {
        (Ok(_), pid) if !pid.is_empty() => pid.to_owned(),
        _ => "unknown".to_owned(),
    }
}
