//! The places of fields in nested messages, numbered as they come up. Of fields that are repeated each has a place of its
//! own, so that the first of them is compared with the first of the record before.

use std::collections::HashMap;

/// A place's number.
pub type Id = usize;

/// The place of a whole payload.
pub const ROOT: Id = 0;

/// Repeated fields beyond so many share a place.
const ORDINAL_MAX: u32 = 63;
/// No message is taken apart any more once there are so many places.
const PLACES_MAX: usize = 4096;

/// How a field's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// A number of variable length.
    Number,
    /// So many bytes.
    Fixed(usize),
    /// Bytes behind their length.
    Bytes,
}

impl Wire {
    /// By a field's tag. None: no field has such a tag.
    pub fn of(tag: u64) -> Option<Self> {
        match tag & 7 {
            _ if !(8..1 << 32).contains(&tag) => None,
            0 => Some(Self::Number),
            1 => Some(Self::Fixed(8)),
            2 => Some(Self::Bytes),
            5 => Some(Self::Fixed(4)),
            _ => None,
        }
    }
}

struct Node {
    tag: u64,
    ordinal: u32,
    /// What came next when it was here last: the first field within it, the field after it.
    first: Id,
    next: Id,
}

impl Node {
    fn new(tag: u64, ordinal: u32) -> Self {
        Self { tag, ordinal, first: ROOT, next: ROOT }
    }
}

/// Every place so far.
pub struct Tree {
    nodes: Vec<Node>,
    /// By message, tag, and how many of that tag stand before it.
    known: HashMap<(Id, u64, u32), Id>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::new(0, 0)], known: HashMap::new() }
    }
}

impl Tree {
    /// Whether another message may be taken apart.
    pub fn has_room(&self) -> bool {
        self.nodes.len() < PLACES_MAX
    }

    /// The place of a field in a message, `before` being the field before it there.
    pub fn child(&mut self, message: Id, before: Option<Id>, tag: u64) -> Id {
        let ordinal = match before.map(|before| &self.nodes[before]) {
            Some(before) if before.tag == tag => (before.ordinal + 1).min(ORDINAL_MAX),
            _ => 0,
        };
        let guess = before.map_or(self.nodes[message].first, |before| self.nodes[before].next);
        if guess != ROOT && self.nodes[guess].tag == tag && self.nodes[guess].ordinal == ordinal {
            return guess;
        }
        let fresh = self.nodes.len();
        let child = *self.known.entry((message, tag, ordinal)).or_insert(fresh);
        if child == fresh {
            self.nodes.push(Node::new(tag, ordinal));
        }
        match before {
            Some(before) => self.nodes[before].next = child,
            None => self.nodes[message].first = child,
        }
        child
    }
}
