//! What is answered where no document is: why there is none, and when a mark was made.

use serde::{Deserialize, Serialize};

document! {
    /// Why there is no answer.
    FaultDoc {
        /// In one line.
        error: String,
    }
}

document! {
    /// A mark was made.
    MarkedDoc {
        /// When.
        at: String,
    }
}
