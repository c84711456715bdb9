//! What the documents look like, as JSON Schema: made from the very types that write them, so that a description can't
//! say anything else than what is sent.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::document::*;
use super::question::Document;

/// Where the shapes that have a name stand in a description of the API.
const PLACE: &str = "#/components/schemas/";

/// Shapes that have a name.
pub type Shapes = BTreeMap<&'static str, Value>;

/// A type whose JSON can be described.
pub trait Schema {
    /// Its shape. One that has a name goes to `shapes` and is referred to.
    fn schema(shapes: &mut Shapes) -> Value;
}

/// A field of a document.
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it tells.
    pub says: &'static str,
    /// It is left out where there is nothing to tell.
    pub may_lack: bool,
    /// The shape of its value.
    pub schema: fn(&mut Shapes) -> Value,
}

/// Keeps the shape of a document under its name; gives a reference to it.
pub fn named(shapes: &mut Shapes, name: &'static str, says: &str, fields: &[Field]) -> Value {
    if !shapes.contains_key(name) {
        // A document that holds itself finds its name taken.
        shapes.insert(name, Value::Null);
        let shape = object(shapes, says, fields);
        shapes.insert(name, shape);
    }
    json!({"$ref": format!("{PLACE}{name}")})
}

/// The shape of an object.
fn object(shapes: &mut Shapes, says: &str, fields: &[Field]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| {
            let mut schema = (field.schema)(shapes);
            schema["description"] = field.says.trim().into();
            (field.name.to_owned(), schema)
        })
        .collect();
    let required: Vec<&str> = fields.iter().filter(|field| !field.may_lack).map(|field| field.name).collect();
    json!({"type": "object", "description": says.trim(), "properties": properties, "required": required})
}

impl Document {
    /// The shape of its answer.
    pub fn schema(self, shapes: &mut Shapes) -> Value {
        match self {
            Self::Status => StatusDoc::schema(shapes),
            Self::Hosts => HostsDoc::schema(shapes),
            Self::Instances => InstancesDoc::schema(shapes),
            Self::Gateways => GatewaysDoc::schema(shapes),
            Self::Incidents | Self::Why => IncidentsDoc::schema(shapes),
            Self::Timeline => TimelineDoc::schema(shapes),
            Self::Logs => LogsDoc::schema(shapes),
            Self::Environment => EnvironmentDoc::schema(shapes),
            Self::Causes => CausesDoc::schema(shapes),
            Self::Alerts => AlertsDoc::schema(shapes),
            Self::Silences => SilencesDoc::schema(shapes),
            Self::Advise => AdviseDoc::schema(shapes),
        }
    }
}

macro_rules! plain {
    ($($kind:ty: $schema:tt,)*) => {
        $(impl Schema for $kind {
            fn schema(_: &mut Shapes) -> Value {
                json!($schema)
            }
        })*
    };
}

plain! {
    String: {"type": "string"},
    bool: {"type": "boolean"},
    u32: {"type": "integer", "minimum": 0},
    u64: {"type": "integer", "minimum": 0},
    i64: {"type": "integer"},
    f64: {"type": "number"},
}

impl<T: Schema> Schema for Option<T> {
    fn schema(shapes: &mut Shapes) -> Value {
        json!({"anyOf": [T::schema(shapes), {"type": "null"}]})
    }
}

impl<T: Schema> Schema for Vec<T> {
    fn schema(shapes: &mut Shapes) -> Value {
        json!({"type": "array", "items": T::schema(shapes)})
    }
}

impl<T: Schema> Schema for BTreeMap<String, T> {
    fn schema(shapes: &mut Shapes) -> Value {
        json!({"type": "object", "additionalProperties": T::schema(shapes)})
    }
}

impl<A: Schema, B: Schema> Schema for (A, B) {
    fn schema(shapes: &mut Shapes) -> Value {
        let pair = [A::schema(shapes), B::schema(shapes)];
        json!({"type": "array", "prefixItems": pair, "minItems": 2, "maxItems": 2})
    }
}
