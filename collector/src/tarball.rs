//! Files packed as a tar.gz: what people can look into with what every machine has.

use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Packs files, each with its name. The same files give the same bytes: no time and no owner is written.
pub fn pack<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes)?;
    }
    tar.into_inner()?.finish()
}
