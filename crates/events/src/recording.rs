//! The recording: a versioned, compressed stream of chunks over `Read` and
//! `Write`, readable up to the last chunk that was written whole.
//!
//! Layout, integers little-endian:
//!
//! ```text
//! magic    8 bytes  "whyslow\0"
//! version  u16
//! chunk*   u32 length, then that many bytes: one zstd frame with checksum
//!          first chunk   postcard of `Header`
//!          others        base time u64, then (time − base of the one before, `Event`)*
//! end      u32 0    missing when the recorder was killed
//! ```

use std::cmp::Ordering;
use std::io::{self, Read, Seek, SeekFrom, Write};

use serde::{Deserialize, Serialize};

use crate::{Event, EventSource, Header, Ns, SourceError, Timed};

/// First bytes of every recording.
pub const MAGIC: [u8; 8] = *b"whyslow\0";
/// The only version this build writes and reads.
pub const VERSION: u16 = 2;

/// Plain bytes gathered before a chunk is compressed and written.
const CHUNK_TARGET: usize = 256 << 10;
/// No honest chunk unpacks to more: events are small, and the largest
/// (symbols, stacks) are bounded by their writers.
const CHUNK_LIMIT: usize = 64 << 20;
/// Fast enough for a million events a second on one core.
const COMPRESSION_LEVEL: i32 = 1;

/// Why a recording could not be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is something else.
    #[error("not a whyslow recording")]
    NotOurs,
    /// A newer whyslow wrote it.
    #[error("recording has version {found}, this build reads version {VERSION}")]
    Newer {
        /// The version in the file.
        found: u16,
    },
    /// A whyslow from before the first release wrote it.
    #[error(
        "recording has version {found}, which is no longer read; this build reads version {VERSION}"
    )]
    Older {
        /// The version in the file.
        found: u16,
    },
    /// It ends in the middle: the recorder was killed, or the copy is incomplete.
    #[error("recording is truncated")]
    Truncated,
    /// Bytes are not what was written.
    #[error("recording is corrupt: {0}")]
    Corrupt(&'static str),
    /// The reader underneath failed.
    #[error("cannot read recording")]
    Io(#[from] io::Error),
}

#[derive(Serialize, Deserialize)]
struct Delta {
    since_last: i64,
    event: Event,
}

/// Writes a recording as the events come.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    plain: Vec<u8>,
    last: Ns,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Starts a recording with its header.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut writer = Writer { out, plain: Vec::new(), last: Ns(0), written: 0 };
        writer.out.write_all(&MAGIC)?;
        writer.out.write_all(&VERSION.to_le_bytes())?;
        let plain = postcard::to_stdvec(header).map_err(io::Error::other)?;
        writer.chunk(&plain)?;
        writer.out.flush()?;
        Ok(writer)
    }

    /// Adds an event.
    ///
    /// # Errors
    /// When a full chunk cannot be written.
    pub fn push(&mut self, timed: &Timed) -> io::Result<()> {
        if self.plain.is_empty() {
            self.plain.extend_from_slice(&timed.time.0.to_le_bytes());
            self.last = timed.time;
        }
        let since_last = timed.time.0.wrapping_sub(self.last.0).cast_signed();
        self.last = timed.time;
        let plain = std::mem::take(&mut self.plain);
        let item = EncodedDelta { since_last, event: &timed.event };
        self.plain = postcard::to_extend(&item, plain).map_err(io::Error::other)?;
        if self.plain.len() >= CHUNK_TARGET { self.write_chunk() } else { Ok(()) }
    }

    /// Writes what was gathered so far, so that a reader of the file sees it.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.write_chunk()?;
        self.out.flush()
    }

    /// Writes the end mark and gives the writer underneath back.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_chunk()?;
        self.out.write_all(&0u32.to_le_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        if self.plain.is_empty() {
            return Ok(());
        }
        let plain = std::mem::take(&mut self.plain);
        self.chunk(&plain)?;
        self.plain = plain;
        self.plain.clear();
        Ok(())
    }

    fn chunk(&mut self, plain: &[u8]) -> io::Result<()> {
        let mut encoder = zstd::Encoder::new(Vec::new(), COMPRESSION_LEVEL)?;
        encoder.include_checksum(true)?;
        encoder.include_contentsize(true)?;
        encoder.write_all(plain)?;
        let packed = encoder.finish()?;
        let length = u32::try_from(packed.len()).map_err(io::Error::other)?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&packed)?;
        self.written += 4 + u64::from(length);
        Ok(())
    }
}

#[derive(Serialize)]
struct EncodedDelta<'a> {
    since_last: i64,
    event: &'a Event,
}

/// Reads a recording, chunk by chunk.
#[derive(Debug)]
pub struct Reader<R: Read> {
    input: R,
    header: Header,
    plain: Vec<u8>,
    at: usize,
    last: Ns,
    ended: bool,
    /// How to go back to the first event.
    rewind: Option<Rewind<R>>,
}

type Rewind<R> = (fn(&mut R, u64) -> io::Result<u64>, u64);

impl<R: Read> Reader<R> {
    /// Reads magic, version and header.
    ///
    /// # Errors
    /// [`ReadError`] says what is wrong with the file.
    pub fn new(mut input: R) -> Result<Self, ReadError> {
        let mut magic = [0; MAGIC.len()];
        read_exact(&mut input, &mut magic).map_err(not_ours_if_short)?;
        if magic != MAGIC {
            return Err(ReadError::NotOurs);
        }
        let mut version = [0; 2];
        read_exact(&mut input, &mut version)?;
        let found = u16::from_le_bytes(version);
        match found.cmp(&VERSION) {
            Ordering::Greater => return Err(ReadError::Newer { found }),
            Ordering::Less => return Err(ReadError::Older { found }),
            Ordering::Equal => {}
        }
        let plain = read_chunk(&mut input)?.ok_or(ReadError::Truncated)?;
        let header = postcard::from_bytes(&plain).map_err(|_| ReadError::Corrupt("header"))?;
        let plain = Vec::new();
        Ok(Reader { input, header, plain, at: 0, last: Ns(0), ended: false, rewind: None })
    }

    /// The same of what can be read twice.
    ///
    /// # Errors
    /// [`ReadError`] says what is wrong with the file.
    pub fn repeatable(input: R) -> Result<Self, ReadError>
    where
        R: Seek,
    {
        let mut reader = Reader::new(input)?;
        let first = reader.input.stream_position()?;
        reader.rewind = Some((|input, first| input.seek(SeekFrom::Start(first)), first));
        Ok(reader)
    }

    fn next(&mut self) -> Result<Option<Timed>, ReadError> {
        while self.at == self.plain.len() {
            let Some(plain) = read_chunk(&mut self.input)? else { return Ok(None) };
            let base = plain.first_chunk::<8>().ok_or(ReadError::Corrupt("chunk without time"))?;
            self.last = Ns(u64::from_le_bytes(*base));
            self.at = base.len();
            self.plain = plain;
        }
        let rest = &self.plain[self.at..];
        let (delta, left) = postcard::take_from_bytes::<Delta>(rest)
            .map_err(|_| ReadError::Corrupt("unknown event"))?;
        self.at = self.plain.len() - left.len();
        self.last = Ns(self.last.0.wrapping_add_signed(delta.since_last));
        Ok(Some(Timed { time: self.last, event: delta.event }))
    }
}

impl<R: Read> EventSource for Reader<R> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn next_event(&mut self) -> Result<Option<Timed>, SourceError> {
        if self.ended {
            return Ok(None);
        }
        let next = self.next();
        self.ended = !matches!(next, Ok(Some(_)));
        Ok(next?)
    }

    fn is_repeatable(&self) -> bool {
        self.rewind.is_some()
    }

    fn repeat(&mut self) -> Result<(), SourceError> {
        if let Some((rewind, first)) = self.rewind {
            rewind(&mut self.input, first).map_err(ReadError::Io)?;
            self.plain.clear();
            self.at = 0;
            self.ended = false;
        }
        Ok(())
    }
}

/// `None` at the end mark.
fn read_chunk(input: &mut impl Read) -> Result<Option<Vec<u8>>, ReadError> {
    let mut length = [0; 4];
    read_exact(input, &mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length == 0 {
        return Ok(None);
    }
    if length > CHUNK_LIMIT {
        return Err(ReadError::Corrupt("chunk too long"));
    }
    // Grows with what is there, so that a lying length costs nothing.
    let mut packed = Vec::new();
    input.by_ref().take(length as u64).read_to_end(&mut packed)?;
    if packed.len() < length {
        return Err(ReadError::Truncated);
    }
    let mut plain = Vec::new();
    zstd::Decoder::with_buffer(packed.as_slice())
        .and_then(|decoder| decoder.take(CHUNK_LIMIT as u64 + 1).read_to_end(&mut plain))
        .map_err(|_| ReadError::Corrupt("chunk does not unpack"))?;
    if plain.len() > CHUNK_LIMIT {
        return Err(ReadError::Corrupt("chunk too long"));
    }
    Ok(Some(plain))
}

fn read_exact(input: &mut impl Read, into: &mut [u8]) -> Result<(), ReadError> {
    input.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ReadError::Truncated,
        _ => ReadError::Io(error),
    })
}

fn not_ours_if_short(error: ReadError) -> ReadError {
    if matches!(error, ReadError::Truncated) { ReadError::NotOurs } else { error }
}

#[cfg(test)]
mod tests;
