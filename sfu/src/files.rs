//! Files that others write: read without an end to the wait or to the memory, whatever stands in their place.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Most bytes of a configuration file, a certificate chain or a key; real ones have some kilobytes.
pub(crate) const MAX_SETTINGS: u64 = 1 << 20;

/// A regular file and its length. A pipe, a device or a folder is refused at once.
///
/// A file system that hangs can still hold the caller: asynchronous code calls this [`aside`].
pub(crate) fn open(path: &Path) -> io::Result<(File, u64)> {
    // Opening a FIFO waits for somebody who writes, unless one says otherwise (fifo(7)).
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    // Of what was opened: the name may stand for something else by now.
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "no regular file"));
    }
    Ok((file, metadata.len()))
}

/// The content of a file, as [`open`] has it, of at most `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let (file, _) = open(path)?;
    let mut content = Vec::new();
    // It may grow meanwhile.
    file.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("more than {most} bytes")));
    }
    Ok(content)
}

/// The same of a text in UTF-8.
pub(crate) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?).map_err(|_| io::Error::new(ErrorKind::InvalidData, "no text in UTF-8"))
}

/// Runs what reads files, and so may block, on a thread that may.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime goes down, and with it whoever asked.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_bounded_size() {
        let path = std::env::temp_dir().join(format!("sfu-files-{}", crate::random::text(12)));
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(read_text(&path, 3).unwrap(), "abc");
        assert_eq!(read(&path, 2).unwrap_err().kind(), ErrorKind::FileTooLarge);
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path, 3).unwrap_err().kind(), ErrorKind::InvalidData);
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(read(&path, 3).unwrap_err().to_string(), "no regular file");
        std::fs::remove_file(&path).unwrap();
        for (device, kind) in [("/dev/zero", ErrorKind::InvalidInput), ("/", ErrorKind::IsADirectory)] {
            assert_eq!(read(Path::new(device), 3).unwrap_err().kind(), kind, "{device}");
        }
    }
}
