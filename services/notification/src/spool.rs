//! Mail as files, for a machine without a mail server.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// A folder with one file for each mail, named after its Message-ID.
///
/// A file is written aside, fsynced and renamed, so that it is whole or not there; one that is
/// there is not written again. Two processes must not share a folder.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    /// Held while a file is written: two requests may ask for the same mail at the same time.
    writing: Arc<Mutex<()>>,
}

impl Spool {
    /// The folder is made when it is not there, and its name synced: a power cut must not take it
    /// away with the mails in it.
    pub(crate) fn open(folder: &Path) -> io::Result<Spool> {
        let folder = &std::path::absolute(folder)?;
        let there = folder.ancestors().take_while(|it| !it.is_dir()).count();
        fs::create_dir_all(folder)?;
        for parent in folder.ancestors().skip(1).take(there) {
            File::open(parent)?.sync_all()?;
        }
        Ok(Spool { folder: folder.to_owned(), writing: Arc::default() })
    }

    /// Keeps a mail. When this returns, it survives a power cut.
    pub(crate) fn keep(&self, message_id: &str, mail: &[u8]) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join(format!("{message_id}.eml"));
        if path.try_exists()? {
            return Ok(());
        }
        let aside = self.folder.join(format!(".{message_id}.part"));
        let mut file = File::create(&aside)?;
        file.write_all(mail)?;
        file.sync_all()?;
        fs::rename(&aside, &path)?;
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<String> {
        let files = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            files.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_mail_stands_in_the_spool_once_and_as_it_was_written_first() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(&folder.path().join("new")).unwrap();
        spool.keep("a.o-1@x", b"first").unwrap();
        spool.keep("a.o-1@x", b"second").unwrap();
        spool.keep("b.o-1@x", b"other").unwrap();
        assert_eq!(files(&spool.folder), ["a.o-1@x.eml", "b.o-1@x.eml"]);
        assert_eq!(fs::read(spool.folder.join("a.o-1@x.eml")).unwrap(), b"first");
    }

    #[test]
    fn what_a_crash_left_aside_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path()).unwrap();
        fs::write(folder.path().join(".a.o-1@x.part"), b"half and much longer").unwrap();
        spool.keep("a.o-1@x", b"whole").unwrap();
        assert_eq!(files(folder.path()), ["a.o-1@x.eml"]);
        assert_eq!(fs::read(folder.path().join("a.o-1@x.eml")).unwrap(), b"whole");
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(&folder.path().join("gone")).unwrap();
        fs::remove_dir(&spool.folder).unwrap();
        assert!(spool.keep("a.o-1@x", b"mail").is_err());
    }
}
