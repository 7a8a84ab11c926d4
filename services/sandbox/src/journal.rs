//! The journal: a killed sandbox comes back with its sessions and refunds.
//!
//! One JSON line per change, written before the change is answered. It is not fsynced: it has to
//! outlive the process, not the machine.

use crate::world::Record;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

/// The open file; whoever has it is the only writer.
pub(crate) struct Journal {
    file: File,
    /// The end of the last whole line.
    whole_bytes: u64,
}

impl Journal {
    /// Opens or creates the journal in this directory and reads what is there. A last line that was
    /// cut off was never answered, so it goes.
    pub(crate) fn open(dir: &Path) -> io::Result<(Self, Vec<Record>)> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join("journal.jsonl");
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&path)?;
        file.try_lock().map_err(|_| {
            let path = path.display();
            io::Error::other(format!("{path} is in use by another sandbox: stop it first"))
        })?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut journal = Self { file, whole_bytes: whole as u64 };
        journal.cut()?;
        let mut records = Vec::new();
        for (number, line) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
            let read = serde_json::from_slice::<Vec<Record>>(line).map_err(|fault| {
                let place = format!("{} line {}", path.display(), number + 1);
                io::Error::other(format!("cannot read {place}: {fault}; remove it to start anew"))
            })?;
            records.extend(read);
        }
        Ok((journal, records))
    }

    /// Writes one change as one line, so that it is there as a whole or not at all.
    pub(crate) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let mut line = serde_json::to_vec(records)?;
        line.push(b'\n');
        if let Err(fault) = self.file.write_all(&line) {
            self.cut()?;
            return Err(fault);
        }
        self.whole_bytes += line.len() as u64;
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.whole_bytes)?;
        self.file.seek(SeekFrom::End(0)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(id: &str) -> Vec<Record> {
        vec![Record::WebhookDelivered { id: id.to_owned() }]
    }

    #[test]
    fn what_was_appended_comes_back_and_a_torn_last_line_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, records) = Journal::open(dir.path()).unwrap();
        assert!(records.is_empty());
        journal.append(&delivered("a")).unwrap();
        journal.file.write_all(br#"[{"webhook_delivered":{"id":"to"#).unwrap();
        drop(journal);

        let (mut journal, records) = Journal::open(dir.path()).unwrap();
        assert_eq!(records.len(), 1);
        journal.append(&delivered("b")).unwrap();
        drop(journal);
        assert_eq!(Journal::open(dir.path()).unwrap().1.len(), 2);
    }

    #[test]
    fn a_second_sandbox_on_the_same_journal_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Journal::open(dir.path()).unwrap();
        let fault = Journal::open(dir.path()).err().unwrap().to_string();
        assert!(fault.contains("in use by another sandbox"), "{fault}");
    }
}
