// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file that is moved.

use std::fs::File;
use std::io::Seek;
use std::io::SeekFrom;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::failure::Failure;
use crate::failure::Result;

/// A file or block device of which a number of bytes are used.
#[derive(Debug)]
pub struct Input {
    file: File,
    name: String,
    len: u64,
}

impl Input {
    /// Opens `path`; `bytes` is how much of it counts, by default all.
    pub fn open(path: &Path, bytes: Option<u64>) -> Result<Input> {
        let name = path.display().to_string();
        let failed = |err: std::io::Error| Failure(format!("{name} cannot be read: {err}"));
        let mut file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(Failure(format!("{name} is a directory; name a file")));
        }
        // Unlike the metadata's length this is right for block devices, too.
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let len = bytes.unwrap_or(size);
        if len > size {
            return Err(Failure(format!(
                "{name} is shorter than that: {size} of {len} bytes"
            )));
        }
        Ok(Input { file, name, len })
    }

    /// Number of bytes that count.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Fills `to` with what is at `offset`.
    pub fn read(&mut self, offset: u64, to: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(to, offset).map_err(|err| {
            Failure(format!(
                "{}: reading {} bytes at {offset}: {err}",
                self.name,
                to.len()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(name: &str, content: &[u8]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("hlrs-demo-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn a_part_of_a_file() {
        let path = temporary("part", b"0123456789");
        let mut input = Input::open(&path, Some(5)).unwrap();
        assert_eq!(input.len(), 5);
        let mut bytes = [0; 2];
        input.read(3, &mut bytes).unwrap();
        assert_eq!(&bytes, b"34");
        assert!(Input::open(&path, Some(11)).is_err());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_empty_file_and_none() {
        let path = temporary("empty", b"");
        assert_eq!(Input::open(&path, None).unwrap().len(), 0);
        std::fs::remove_file(&path).unwrap();
        assert!(Input::open(&path, None).is_err());
        assert!(Input::open(&std::env::temp_dir(), None).is_err());
    }
}
