//! One file of systemd's journal, by its documented format, both in its regular and in its compact mode. It is read with
//! plain reads at offsets, never mapped: a file that is cut back or damaged gives an error, no signal. Whatever a file
//! says, a read is bounded and a chain only goes forward.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::header::{Header, fault, header, open, u64_at};
use super::packed::{self, Packing};
use crate::tail::MAX_LINE_BYTES;

/// Before each object: its kind, its flags and its length.
const OBJECT_BYTES: usize = 16;
const DATA: u8 = 1;
const ENTRY: u8 = 3;
const ENTRY_ARRAY: u8 = 6;
/// Where the items of an entry and of an array of entries begin, and the payload of data; compact data has two fields more.
const ENTRY_HEAD_BYTES: usize = 64;
const ARRAY_HEAD_BYTES: usize = 24;
const DATA_HEAD_BYTES: usize = 64;
const COMPACT_DATA_HEAD_BYTES: usize = 72;
/// Most fields of an entry that are looked at.
const MAX_FIELDS: usize = 256;
/// Places in an array that are read at once.
const PLACES: usize = 256;
/// What is looked at of a field to tell which it is; most are no longer.
const FIELD_BYTES: usize = 320;
/// Most bytes of a packed field as it stands in the file. What is longer is not looked at.
const MAX_PACKED_BYTES: usize = 512 * 1024;
/// Most fields that are remembered.
const MAX_REMEMBERED: usize = 4_096;

/// Which entries are wanted, and what of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Fields that an entry must have, each `NAME=value`; at most 64.
    pub all: Vec<String>,
    /// Names of the fields whose values are handed on.
    pub fields: Vec<&'static str>,
}

/// An entry that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was written, unix microseconds.
    pub at_us: u64,
    /// The values of the fields that were asked for, in their order, each at most one byte longer than 64 KiB.
    pub values: Vec<Option<Vec<u8>>>,
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Its offset in the file.
    pub offset: u64,
    /// Its number in the sequence.
    pub number: u64,
    /// When it was written, unix microseconds.
    pub at_us: u64,
}

/// What became of the next entry.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// It is wanted.
    Entry(Entry),
    /// It is wanted, but what was asked for is packed in a way that is not read here.
    Packed(Packing),
    /// It is not wanted, or has nothing of what was asked for.
    Other,
    /// There is none yet.
    End,
}

/// What a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    /// One that must be there, by its index.
    Condition(usize),
    /// One that is handed on, by its index.
    Value(usize),
    /// It is packed in a way that is not read here.
    Hidden(Packing),
    Other,
}

/// An open file and how far it was read.
#[derive(Debug)]
pub struct JournalFile {
    file: File,
    identity: (u64, u64),
    header: Header,
    /// The array that the next entry stands in, and its index there. 0: before the first one.
    array: u64,
    index: u64,
    /// Entries passed.
    passed: u64,
    last: Place,
    /// Places read ahead, last one first.
    ahead: Vec<u64>,
    /// Fields that many entries share, by their places.
    known: HashMap<u64, Field>,
    /// Where the fields stand that an entry must have, as far as they were met: a field of one value stands once in a file.
    conditions: Vec<Option<u64>>,
}

impl JournalFile {
    /// Opens a file before its first entry.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let metadata = file.metadata()?;
        let header = header(&file)?;
        Ok(Self {
            file,
            identity: (metadata.dev(), metadata.ino()),
            header,
            array: 0,
            index: 0,
            passed: 0,
            last: Place::default(),
            ahead: Vec::new(),
            known: HashMap::new(),
            conditions: Vec::new(),
        })
    }

    /// What it says of itself, as of the last look that came to its end.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Device and inode.
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// The last entry that was passed.
    pub fn last(&self) -> Place {
        self.last
    }

    /// Passes over the entries that were written up to a time.
    pub fn skip_until(&mut self, at_us: u64) -> io::Result<()> {
        while let Some(offset) = self.peek()? {
            let (place, _) = self.entry(offset)?;
            if place.at_us > at_us {
                break;
            }
            self.pass(place);
        }
        Ok(())
    }

    /// Passes over the entries that stand up to an offset, looking at the last one only.
    pub fn skip_to(&mut self, end: u64) -> io::Result<()> {
        let mut last = None;
        while let Some(offset) = self.peek()?.filter(|offset| *offset <= end) {
            last = Some(offset);
            self.ahead.pop();
            self.passed += 1;
        }
        if let Some(offset) = last {
            self.last = self.entry(offset)?.0;
        }
        Ok(())
    }

    /// Whether there is an entry that was not passed, by what the file says now.
    pub fn has_more(&mut self) -> io::Result<bool> {
        Ok(self.peek()?.is_some())
    }

    /// Passes the next entry and gives what is wanted of it.
    pub fn next(&mut self, wanted: &Wanted) -> io::Result<Next> {
        let Some(offset) = self.peek()? else { return Ok(Next::End) };
        let (place, fields) = self.entry(offset)?;
        // Whatever it turns out to be, it is not looked at twice.
        self.pass(place);
        if self.conditions.iter().flatten().any(|condition| !fields.contains(condition)) {
            return Ok(Next::Other);
        }
        self.conditions.resize(wanted.all.len(), None);
        let (mut met, mut hidden) = (0_u64, None);
        let mut places = vec![None; wanted.fields.len()];
        for field in fields {
            match self.field(field, wanted)? {
                Field::Condition(index) => {
                    met |= 1 << index;
                    self.conditions[index] = Some(field);
                }
                Field::Value(index) => places[index] = Some(field),
                Field::Hidden(packing) => hidden = Some(packing),
                Field::Other => {}
            }
        }
        if met.count_ones() as usize != wanted.all.len() {
            return Ok(Next::Other);
        }
        if places.iter().all(Option::is_none) {
            return Ok(hidden.map_or(Next::Other, Next::Packed));
        }
        let mut values = Vec::with_capacity(places.len());
        for (place, name) in places.into_iter().zip(&wanted.fields) {
            values.push(place.map_or(Ok(None), |place| self.value(place, name))?);
        }
        Ok(Next::Entry(Entry { at_us: place.at_us, values }))
    }

    fn pass(&mut self, place: Place) {
        self.ahead.pop();
        self.passed += 1;
        self.last = place;
    }

    /// The place of the next entry.
    fn peek(&mut self) -> io::Result<Option<u64>> {
        if self.ahead.is_empty() {
            self.read_ahead()?;
        }
        Ok(self.ahead.last().copied())
    }

    fn read_ahead(&mut self) -> io::Result<()> {
        if self.passed >= self.header.entries {
            self.header = header(&self.file)?;
        }
        let left = self.header.entries.saturating_sub(self.passed);
        if left == 0 {
            return Ok(());
        }
        if self.array == 0 {
            self.array = self.header.first_array;
        }
        while self.array != 0 {
            let mut head = [0; ARRAY_HEAD_BYTES];
            let length = self.object(self.array, ENTRY_ARRAY, &mut head)?;
            let room = length.saturating_sub(ARRAY_HEAD_BYTES as u64) / self.header.place_bytes() as u64;
            if self.index < room {
                return self.read_places((room - self.index).min(left).min(PLACES as u64) as usize);
            }
            let next = u64_at(&head, 16);
            if next == 0 {
                return Ok(());
            }
            if next <= self.array {
                return Err(fault("its arrays of entries go backward"));
            }
            (self.array, self.index) = (next, 0);
        }
        Ok(())
    }

    fn read_places(&mut self, count: usize) -> io::Result<()> {
        let size = self.header.place_bytes();
        let mut bytes = vec![0; count * size];
        self.file.read_exact_at(&mut bytes, self.array + ARRAY_HEAD_BYTES as u64 + self.index * size as u64)?;
        // An entry that is counted and not yet linked is there at the next look.
        self.ahead = bytes.chunks(size).map(|place| self.header.place(place)).take_while(|place| *place != 0).collect();
        self.index += self.ahead.len() as u64;
        self.ahead.reverse();
        Ok(())
    }

    /// An entry and the places of its fields.
    fn entry(&self, offset: u64) -> io::Result<(Place, Vec<u64>)> {
        let mut head = [0; ENTRY_HEAD_BYTES];
        let length = self.object(offset, ENTRY, &mut head)?;
        let place = Place { offset, number: u64_at(&head, 16), at_us: u64_at(&head, 24) };
        let size = self.header.item_bytes();
        let count = (length.saturating_sub(ENTRY_HEAD_BYTES as u64) / size as u64).min(MAX_FIELDS as u64) as usize;
        let mut items = vec![0; count * size];
        self.file.read_exact_at(&mut items, offset + ENTRY_HEAD_BYTES as u64)?;
        Ok((place, items.chunks(size).map(|item| self.header.place(item)).collect()))
    }

    /// Which field stands at a place.
    fn field(&mut self, offset: u64, wanted: &Wanted) -> io::Result<Field> {
        if let Some(field) = self.known.get(&offset) {
            return Ok(*field);
        }
        let field = match self.payload(offset, FIELD_BYTES)? {
            Err(packing) => Field::Hidden(packing),
            Ok(text) => {
                let condition = wanted.all.iter().position(|field| text == field.as_bytes()).map(Field::Condition);
                let value = || wanted.fields.iter().position(|name| value_of(&text, name).is_some()).map(Field::Value);
                condition.or_else(value).unwrap_or(Field::Other)
            }
        };
        // Values are hardly ever alike; to remember them would push out the fields that are.
        if !matches!(field, Field::Value(_)) {
            if self.known.len() >= MAX_REMEMBERED {
                self.known.clear();
            }
            self.known.insert(offset, field);
        }
        Ok(field)
    }

    /// The value of a field whose name is known. None: it is packed in a way that is not read here.
    fn value(&self, offset: u64, name: &str) -> io::Result<Option<Vec<u8>>> {
        let text = self.payload(offset, name.len() + 1 + MAX_LINE_BYTES + 1)?.unwrap_or_default();
        Ok(value_of(&text, name).map(<[u8]>::to_vec))
    }

    /// The first bytes of a field, unpacked. Err within: they are packed in a way that is not read here.
    fn payload(&self, offset: u64, most: usize) -> io::Result<Result<Vec<u8>, Packing>> {
        let begin = if self.header.is_compact() { COMPACT_DATA_HEAD_BYTES } else { DATA_HEAD_BYTES };
        let mut head = [0; OBJECT_BYTES];
        let length = self.object(offset, DATA, &mut head)?.saturating_sub(begin as u64);
        let packing = Packing::of(head[1]);
        let limit = if packing == Packing::None { most } else { MAX_PACKED_BYTES };
        if packing != Packing::None && length > limit as u64 {
            return Ok(Err(packing));
        }
        let mut stored = vec![0; length.min(limit as u64) as usize];
        self.file.read_exact_at(&mut stored, offset + begin as u64)?;
        Ok(packed::unpack(packing, stored, most))
    }

    /// Reads the head of an object of a kind; returns the length of the whole.
    fn object(&self, offset: u64, kind: u8, head: &mut [u8]) -> io::Result<u64> {
        self.file.read_exact_at(head, offset)?;
        if head[0] != kind {
            return Err(fault(format!(
                "an object of kind {} where one of kind {kind} belongs, at byte {offset}",
                head[0]
            )));
        }
        Ok(u64_at(head, 8))
    }
}

fn value_of<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    text.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}
