//! Alike records laid side by side. Payloads of nested fields, as protobuf writes them, are taken apart into columns, one
//! for each place in the nesting, so that what stays the same from record to record costs next to nothing once the columns
//! are packed. It is a guess about bytes, not knowledge of a schema: what does not look like fields stays a text, and what
//! was taken apart is put together again byte for byte.
//!
//! Each place has four columns: its values (numbers as differences from the one before; of a text or a message
//! whether it is the one before, fields of its own, or new bytes), the bytes of new texts, and which field
//! comes next: the first one within it, and the one after it. Columns stand in the order in which their places come up, so
//! that whoever reads them finds the same places in the same order.

use super::tree::{Id, ROOT, Tree, Wire};
use super::varint;

/// Messages within messages are taken apart so deep.
const DEPTH_MAX: u32 = 12;
/// A message of more fields stays a text.
const FIELDS_MAX: usize = 4096;

/// The value of a text or message that is the one before.
const SAME: u64 = 0;
/// The value of one that is taken apart.
const FIELDS: u64 = 1;
/// A new text's value is its length and this.
const TEXT: u64 = 2;

#[derive(Default)]
struct Column {
    values: Vec<u8>,
    texts: Vec<u8>,
    first: Vec<u8>,
    next: Vec<u8>,
    number: u64,
    /// None: there was nothing yet.
    bytes: Option<Vec<u8>>,
}

impl Column {
    /// Whether these bytes are the ones before; they are so from now on.
    fn repeats(&mut self, bytes: &[u8]) -> bool {
        if self.bytes.as_deref() == Some(bytes) {
            return true;
        }
        let known = self.bytes.get_or_insert_default();
        known.clear();
        known.extend_from_slice(bytes);
        false
    }
}

/// Takes payloads apart.
#[derive(Default)]
pub struct Writer {
    tree: Tree,
    columns: Vec<Column>,
}

impl Writer {
    /// Adds a payload.
    pub fn push(&mut self, payload: &[u8]) {
        self.bytes(ROOT, payload, 0);
    }

    /// The columns, each behind its length.
    pub fn finish(mut self) -> Vec<u8> {
        let mut out = Vec::new();
        varint::put(&mut out, self.columns.len() as u64);
        let parts = |column: &Column| [column.values.len(), column.texts.len(), column.first.len(), column.next.len()];
        for len in self.columns.iter().flat_map(parts) {
            varint::put(&mut out, len as u64);
        }
        for column in &mut self.columns {
            for part in [&mut column.values, &mut column.texts, &mut column.first, &mut column.next] {
                out.append(part);
            }
        }
        out
    }

    fn column(&mut self, id: Id) -> &mut Column {
        if self.columns.len() <= id {
            self.columns.resize_with(id + 1, Column::default);
        }
        &mut self.columns[id]
    }

    fn bytes(&mut self, id: Id, bytes: &[u8], depth: u32) {
        let column = self.column(id);
        if column.repeats(bytes) {
            varint::put(&mut column.values, SAME);
        } else if depth < DEPTH_MAX && Fields(bytes).are_whole() && self.tree.has_room() {
            varint::put(&mut self.column(id).values, FIELDS);
            self.fields(id, bytes, depth);
        } else {
            let column = self.column(id);
            varint::put(&mut column.values, bytes.len() as u64 + TEXT);
            column.texts.extend_from_slice(bytes);
        }
    }

    fn fields(&mut self, id: Id, bytes: &[u8], depth: u32) {
        let mut before = None;
        for (tag, value) in Fields(bytes) {
            self.follows(id, before, tag);
            let child = self.tree.child(id, before, tag);
            match value {
                Value::Number(number) => {
                    let column = self.column(child);
                    let step = number.wrapping_sub(std::mem::replace(&mut column.number, number));
                    varint::put(&mut column.values, varint::zigzag(step));
                }
                Value::Fixed(bytes) => self.column(child).values.extend_from_slice(bytes),
                Value::Bytes(bytes) => self.bytes(child, bytes, depth + 1),
            }
            before = Some(child);
        }
        self.follows(id, before, 0);
    }

    /// Notes which field comes next in a message. 0: none.
    fn follows(&mut self, message: Id, before: Option<Id>, tag: u64) {
        let out = match before {
            Some(before) => &mut self.column(before).next,
            None => &mut self.column(message).first,
        };
        varint::put(out, tag);
    }
}

/// The fields of a message, as long as they are written the way that they would be written again.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Fixed(&'a [u8]),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    fn are_whole(mut self) -> bool {
        let count = self.by_ref().take(FIELDS_MAX + 1).count();
        (1..=FIELDS_MAX).contains(&count) && self.0.is_empty()
    }

    fn cut(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    /// None at the end, and where there is no field: then something is left.
    fn next(&mut self) -> Option<Self::Item> {
        let before = self.0;
        let field = (|| {
            let tag = varint::take(&mut self.0)?;
            let value = match Wire::of(tag)? {
                Wire::Number => Value::Number(varint::take(&mut self.0)?),
                Wire::Fixed(len) => Value::Fixed(self.cut(len)?),
                Wire::Bytes => {
                    let len = usize::try_from(varint::take(&mut self.0)?).ok()?;
                    Value::Bytes(self.cut(len)?)
                }
            };
            Some((tag, value))
        })();
        if field.is_none() {
            self.0 = before;
        }
        field
    }
}

#[derive(Default)]
struct ReadColumn<'a> {
    values: &'a [u8],
    texts: &'a [u8],
    first: &'a [u8],
    next: &'a [u8],
    number: u64,
    bytes: Vec<u8>,
}

/// Puts payloads together again.
pub struct Reader<'a> {
    tree: Tree,
    columns: Vec<ReadColumn<'a>>,
}

impl<'a> Reader<'a> {
    /// Reads what a [`Writer`] finished. None: it is something else.
    pub fn new(mut bytes: &'a [u8]) -> Option<Self> {
        let count = usize::try_from(varint::take(&mut bytes)?).ok().filter(|count| *count <= bytes.len())?;
        let mut lengths = Vec::with_capacity(4 * count);
        for _ in 0..4 * count {
            lengths.push(usize::try_from(varint::take(&mut bytes)?).ok()?);
        }
        let mut columns = Vec::with_capacity(count);
        for lengths in lengths.chunks_exact(4) {
            let mut part = |at: usize| {
                let (part, rest) = bytes.split_at_checked(lengths[at])?;
                bytes = rest;
                Some(part)
            };
            let (values, texts, first, next) = (part(0)?, part(1)?, part(2)?, part(3)?);
            columns.push(ReadColumn { values, texts, first, next, ..ReadColumn::default() });
        }
        bytes.is_empty().then(|| Self { tree: Tree::default(), columns })
    }

    /// Appends the next payload, which makes `out` at most so long. None: these are no such columns.
    pub fn pull(&mut self, out: &mut Vec<u8>, limit: usize) -> Option<()> {
        self.bytes(ROOT, out, limit, 0)
    }

    fn bytes(&mut self, id: Id, out: &mut Vec<u8>, limit: usize, depth: u32) -> Option<()> {
        let start = out.len();
        let column = self.columns.get_mut(id)?;
        match varint::take(&mut column.values)? {
            SAME => {
                out.extend_from_slice(&column.bytes);
                return (out.len() <= limit).then_some(());
            }
            FIELDS if depth < DEPTH_MAX => self.fields(id, out, limit, depth)?,
            value => {
                let (text, rest) = column.texts.split_at_checked(usize::try_from(value.checked_sub(TEXT)?).ok()?)?;
                column.texts = rest;
                out.extend_from_slice(text);
            }
        }
        let column = self.columns.get_mut(id)?;
        column.bytes.clear();
        column.bytes.extend_from_slice(&out[start..]);
        (out.len() <= limit).then_some(())
    }

    fn fields(&mut self, id: Id, out: &mut Vec<u8>, limit: usize, depth: u32) -> Option<()> {
        let mut before: Option<Id> = None;
        loop {
            let follows = match before {
                Some(before) => &mut self.columns.get_mut(before)?.next,
                None => &mut self.columns.get_mut(id)?.first,
            };
            let tag = varint::take(follows)?;
            if tag == 0 {
                return Some(());
            }
            varint::put(out, tag);
            let child = self.tree.child(id, before, tag);
            self.field(child, Wire::of(tag)?, out, limit, depth)?;
            before = Some(child);
        }
    }

    fn field(&mut self, id: Id, wire: Wire, out: &mut Vec<u8>, limit: usize, depth: u32) -> Option<()> {
        let column = self.columns.get_mut(id)?;
        match wire {
            Wire::Number => {
                let step = varint::unzigzag(varint::take(&mut column.values)?);
                column.number = column.number.wrapping_add(step);
                varint::put(out, column.number);
            }
            Wire::Fixed(len) => {
                let (value, rest) = column.values.split_at_checked(len)?;
                column.values = rest;
                out.extend_from_slice(value);
            }
            Wire::Bytes => {
                let start = out.len();
                self.bytes(id, out, limit, depth + 1)?;
                varint::insert(out, start, (out.len() - start) as u64);
            }
        }
        (out.len() <= limit).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(payloads: &[&[u8]]) -> Vec<u8> {
        let mut writer = Writer::default();
        payloads.iter().for_each(|payload| writer.push(payload));
        let columns = writer.finish();
        let mut reader = Reader::new(&columns).unwrap();
        for payload in payloads {
            let mut out = Vec::new();
            reader.pull(&mut out, 1 << 20).unwrap();
            assert_eq!(out, *payload);
        }
        assert!(reader.pull(&mut Vec::new(), 1 << 20).is_none(), "nothing is left");
        columns
    }

    #[test]
    fn fields_come_back_in_their_order_with_their_bytes() {
        // A number, a fixed64, a message with a text and a repeated number, the same again, a fixed32.
        let one = b"\x08\x96\x01\x11abcdefgh\x1a\x07\x0a\x03api\x10\x05\x1a\x00\x25wxyz";
        let two = b"\x08\x97\x01\x11abcdefgh\x1a\x07\x0a\x03api\x10\x06\x1a\x00\x25wxyz";
        there_and_back(&[one, two, one, one, b"", two]);
    }

    #[test]
    fn what_does_not_look_like_fields_stays_as_it_is() {
        let overlong: &[u8] = b"\x08\x80\x00";
        let torn: &[u8] = b"\x0a\x05abc";
        let group: &[u8] = b"\x0b\x0c";
        there_and_back(&[overlong, torn, group, b"\x00", b"plain text", &[0xff; 40], &[8; 3]]);
    }

    #[test]
    fn messages_in_messages_without_end_and_names_without_end_are_bounded() {
        let mut deep = vec![];
        for _ in 0..60 {
            let len = deep.len() as u64;
            varint::insert(&mut deep, 0, len);
            deep.insert(0, 0x0a);
        }
        let mut wide = Vec::new();
        for field in 1..100_000u64 {
            varint::put(&mut wide, field << 3);
            wide.push(1);
        }
        there_and_back(&[&deep, &wide, &deep]);
    }

    #[test]
    fn records_that_differ_in_a_number_that_counts_pack_to_next_to_nothing() {
        let payloads: Vec<Vec<u8>> = (0..100u8).map(|number| vec![0x12, 4, 0x08, number, 0x10, 7]).collect();
        let columns = there_and_back(&payloads.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert!(zstd::bulk::compress(&columns, 3).unwrap().len() < 100);
    }

    #[test]
    fn broken_columns_are_no_payload() {
        let mut writer = Writer::default();
        (0..20u8).for_each(|number| writer.push(&[0x12, 4, 0x08, number, 0x10, 7]));
        let whole = writer.finish();
        for len in 0..whole.len() {
            assert!(Reader::new(&whole[..len]).is_none(), "cut at {len}");
        }
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // Its checksum tells that it is broken; here it only must come to an end.
            let Some(mut reader) = Reader::new(&bytes) else { continue };
            let mut out = Vec::new();
            while reader.pull(&mut out, 1000).is_some() {}
        }
    }
}
