//! The common formats of Traefik's access log.

use crate::gateway::template::{Shape, Template};

/// `... "referer" "agent" 7 "router@file" "http://10.0.0.1:80" 3ms`. The request is not escaped, all else is.
pub(super) fn common() -> Template {
    let mut template = beginning();
    template.push_literal(" \"");
    template.push_field("-", Shape::Escaped);
    template.push_literal("\" \"");
    template.push_field("-", Shape::Escaped);
    template.push_literal("\" ");
    template.push_field("count", Shape::Number);
    template.push_literal(" \"");
    template.push_field("router", Shape::Escaped);
    template.push_literal("\" \"");
    template.push_field("service", Shape::Escaped);
    template.push_literal("\" ");
    template.push_field("ms", Shape::Number);
    template.push_literal("ms");
    template
}

/// The same of versions that leave out the quotes around what they have nothing to say of.
pub(super) fn older() -> Template {
    let mut template = beginning();
    template.push_literal(" ");
    template.push_field("-", Shape::Word);
    template.push_literal(" \"");
    template.push_field("-", Shape::Escaped);
    template.push_literal("\" ");
    template.push_field("count", Shape::Number);
    for name in ["router", "service"] {
        template.push_literal(" ");
        template.push_field(name, Shape::Word);
    }
    template.push_literal(" ");
    template.push_field("ms", Shape::Number);
    template.push_literal("ms");
    template
}

/// The generic common format, which names no service.
pub(super) fn plain() -> Template {
    let mut template = beginning();
    template.push_literal(" \"");
    template.push_field("-", Shape::Escaped);
    template.push_literal("\" \"");
    template.push_field("-", Shape::Escaped);
    template.push_literal("\"");
    template
}

fn beginning() -> Template {
    let mut template = Template::default();
    template.push_field("h", Shape::Word);
    template.push_literal(" - ");
    template.push_field("u", Shape::Text);
    template.push_literal(" [");
    template.push_field("t", Shape::Date);
    template.push_literal("] \"");
    template.push_field("r", Shape::Text);
    template.push_literal("\" ");
    template.push_field("s", Shape::Number);
    template.push_literal(" ");
    template.push_field("b", Shape::Number);
    template
}
