//! Reads files as people name them. What is no regular file is refused before anything is read of it: a FIFO would wait
//! for a writer, and a device for ever.

use std::fs::{File, FileType, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// The whole of the regular file at `path`.
///
/// # Errors
/// The system's word, or what is there in the place of a regular file, or that it is longer than any file that a person
/// writes (16 MiB).
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    // To open a FIFO waits for somebody to write to it; this way it does not.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    demand_regular(&file.metadata()?)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("it is longer than {} MiB", FILE_BYTES_MAX >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// Fails with what it is, if it is no regular file.
pub(crate) fn demand_regular(file: &Metadata) -> io::Result<()> {
    match file.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("it is {}, and no regular file", kind(file.file_type())),
        )),
    }
}

fn kind(file: FileType) -> &'static str {
    if file.is_dir() {
        "a folder"
    } else if file.is_fifo() {
        "a FIFO"
    } else if file.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

const FILE_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (file, fifo) = (folder.path().join("file"), folder.path().join("fifo"));
        std::fs::write(&file, "text").unwrap();
        assert_eq!(read_regular(&file).unwrap(), b"text");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        let why = |path: &Path| read_regular(path).unwrap_err().to_string();
        assert_eq!(why(&fifo), "it is a FIFO, and no regular file");
        assert_eq!(why(folder.path()), "it is a folder, and no regular file");
        assert_eq!(why(Path::new("/dev/zero")), "it is a device, and no regular file");
        assert!(why(&folder.path().join("none")).contains("No such file"));
    }

    #[test]
    fn no_file_is_endless() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        File::create(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        assert_eq!(read_regular(&path).unwrap_err().to_string(), "it is longer than 16 MiB");
    }
}
