//! The few messages of OpenTelemetry's schema that an export of logs is made of, with the numbers that its files
//! `collector/logs/v1`, `logs/v1`, `common/v1` and `resource/v1` give the fields. What is never set is left out.

use prost::{Message, Oneof};

/// What is posted.
#[derive(Clone, PartialEq, Message)]
pub struct ExportLogsServiceRequest {
    /// One for each resource that logs.
    #[prost(message, repeated, tag = "1")]
    pub resource_logs: Vec<ResourceLogs>,
}

/// What is answered.
#[derive(Clone, PartialEq, Message)]
pub struct ExportLogsServiceResponse {
    /// Absent where all was taken.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<ExportLogsPartialSuccess>,
}

/// What was not taken though the answer is a success.
#[derive(Clone, PartialEq, Message)]
pub struct ExportLogsPartialSuccess {
    /// How many records. 0: all were taken, and the message is a warning.
    #[prost(int64, tag = "1")]
    pub rejected_log_records: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// What one resource logs.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceLogs {
    /// The resource.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// One for each of its parts.
    #[prost(message, repeated, tag = "2")]
    pub scope_logs: Vec<ScopeLogs>,
}

/// Who logs.
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    /// What is said of it.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// What one part of a resource logs.
#[derive(Clone, PartialEq, Message)]
pub struct ScopeLogs {
    /// The part.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    /// The records.
    #[prost(message, repeated, tag = "2")]
    pub log_records: Vec<LogRecord>,
}

/// The part of a program that logs.
#[derive(Clone, PartialEq, Message)]
pub struct InstrumentationScope {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// A record.
#[derive(Clone, PartialEq, Message)]
pub struct LogRecord {
    /// When it happened, unix nanoseconds.
    #[prost(fixed64, tag = "1")]
    pub time_unix_nano: u64,
    /// When it was seen, unix nanoseconds.
    #[prost(fixed64, tag = "11")]
    pub observed_time_unix_nano: u64,
    /// How bad it is: 9 to 12 is information, 13 to 16 a warning, 17 to 20 an error.
    #[prost(int32, tag = "2")]
    pub severity_number: i32,
    /// The same in the source's word.
    #[prost(string, tag = "3")]
    pub severity_text: String,
    /// What it says.
    #[prost(message, optional, tag = "5")]
    pub body: Option<AnyValue>,
    /// What else is said of it.
    #[prost(message, repeated, tag = "6")]
    pub attributes: Vec<KeyValue>,
    /// Names the kind of event.
    #[prost(string, tag = "12")]
    pub event_name: String,
}

/// A value by name.
#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// A value of any kind.
#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    /// Which.
    #[prost(oneof = "Value", tags = "1, 3, 4, 5")]
    pub value: Option<Value>,
}

/// The kinds of values that are used here.
#[derive(Clone, PartialEq, Oneof)]
pub enum Value {
    /// Text.
    #[prost(string, tag = "1")]
    Text(String),
    /// A whole number.
    #[prost(int64, tag = "3")]
    Int(i64),
    /// A number.
    #[prost(double, tag = "4")]
    Double(f64),
    /// Several values.
    #[prost(message, tag = "5")]
    List(ArrayValue),
}

/// Several values.
#[derive(Clone, PartialEq, Message)]
pub struct ArrayValue {
    /// They.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<AnyValue>,
}
