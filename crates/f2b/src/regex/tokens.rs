//! `--out`: of each failure one token only, or a text with tags (`Fail2banRegex._prepaireOutput`).

use std::io;

use f2b_action::{BanInfo, JailCounts, JailInfo, SystemNames, TagSource};
use f2b_filter::{Field, Fields, Found};
use f2b_protocol::Value;
use f2b_types::{Id, Number, Recorder, Ticket, Time};

use super::output::Output;

/// What to print of a failure.
pub(super) enum Tokens<'a> {
    /// Who.
    Id,
    /// The address.
    Ip,
    /// The lines.
    Messages,
    /// Id, time and everything captured, as Python prints them.
    Row,
    /// A field of that name.
    Field(&'a str),
    /// A text with tags, and who knows the host names for them.
    Text(&'a str, SystemNames),
}

impl<'a> Tokens<'a> {
    pub(super) fn new(form: &'a str) -> Self {
        match form {
            "id" | "fid" => Self::Id,
            "ip" => Self::Ip,
            "msg" => Self::Messages,
            "row" => Self::Row,
            form if form.contains('<') => Self::Text(form, SystemNames::default()),
            form => Self::Field(form),
        }
    }

    /// Prints what was found in a line.
    pub(super) fn print(&self, found: &[Found], out: &mut Output) -> io::Result<()> {
        for found in found {
            self.print_one(found.id(), found.time, &found.fields, out)?;
        }
        Ok(())
    }

    /// Prints a line in which nothing was found.
    pub(super) fn print_missed(&self, line: &str, date: Option<Number>, out: &mut Output) -> io::Result<()> {
        // Upstream has the line as a text here, not as its parts.
        if matches!(self, Self::Field("matches")) {
            return out.print(&format!("[{}]", f2b_filter::repr(line)));
        }
        let fields = Fields::of_missed_line(line);
        self.print_one(Some(&Id::raw("")), date, &fields, out)
    }

    fn print_one(
        &self,
        id: Option<&Id>,
        time: Option<Number>,
        fields: &Fields,
        out: &mut Output,
    ) -> io::Result<()> {
        let show = |id: Option<&Id>| id.map_or_else(|| "None".into(), ToString::to_string);
        match self {
            Self::Id => out.print(&show(id)),
            Self::Ip => match fields.get("ip") {
                Some(ip) => out.print(&plain(ip)),
                None => out.print(&show(id)),
            },
            Self::Messages => fields.matches().iter().try_for_each(|line| out.print(&line.concat())),
            Self::Row => {
                let id = id.map_or(Value::None, |id| id.to_string().into());
                let rest = fields.without("matches");
                out.print(&format!("[{id},\t{},\t{rest}],", time.map_or(Value::None, Value::from)))
            }
            Self::Field(name) => out.print(&fields.get(name).map_or_else(|| "None".into(), plain)),
            Self::Text(form, names) => {
                // A ticket without a time is of now.
                let time = time.unwrap_or_else(|| Number::Float(crate::clock::now().0));
                print_text((form, names), id, time, fields, out)
            }
        }
    }
}

/// Fills in the tags. `<msg>` stands for the lines; if there are several, the text is printed for each.
fn print_text(
    (form, names): (&str, &SystemNames),
    id: Option<&Id>,
    time: Number,
    fields: &Fields,
    out: &mut Output,
) -> io::Result<()> {
    let mut ticket = Ticket::new(id.cloned().unwrap_or_else(|| Id::raw("")), Time(time.as_f64()));
    ticket.data = fields.to_data();
    ticket.data.failures = 0;
    let log = Recorder::default();
    let jail =
        JailInfo { name: "", ban_time: 0.0, counts: JailCounts::default(), earlier: None, names, log: &log };
    let info = BanInfo::new(&ticket, jail);
    let tag = |name: &str, message: Option<&str>| match (name, message) {
        ("msg", Some(message)) => Some(message.to_owned()),
        ("msg", None) => info.tag("matches"),
        ("time", _) => Some(time.to_string()),
        ("br", _) => Some("\n".into()),
        ("sp", _) => Some(" ".into()),
        (name, _) => info.tag(name).or_else(|| {
            let field = f2b_filter::group_of_field(name.strip_prefix("F-")?);
            Some(info.field(&field).unwrap_or_default())
        }),
    };
    // What is no line by itself is shown in one.
    let tag = |name: &str, message: Option<&str>| {
        let value = tag(name, message)?;
        Some(if name == "msg" { value } else { value.replace('\0', "\\x00") })
    };
    let lines = fields.matches();
    if !form.contains("<msg>") || lines.len() <= 1 {
        return out.print(&fill(form, |name| tag(name, None)));
    }
    lines.iter().try_for_each(|line| out.print(&fill(form, |name| tag(name, Some(&line.concat())))))
}

/// Replaces each `<name>` that has a value, once.
fn fill(form: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut text = String::new();
    let mut rest = form;
    while let Some(start) = rest.find('<') {
        let (before, from) = rest.split_at(start);
        text.push_str(before);
        let inner = from.get(1..).unwrap_or("");
        let end = inner
            .find([' ', '<', '>'])
            .filter(|end| inner.get(*end..).is_some_and(|rest| rest.starts_with('>')));
        let filled = end.and_then(|end| Some((end, value(inner.get(..end)?)?)));
        match filled {
            Some((end, value)) => {
                text.push_str(&value);
                rest = inner.get(end + 1..).unwrap_or("");
            }
            None => {
                text.push('<');
                rest = inner;
            }
        }
    }
    text + rest
}

/// Python's `str`: a text as it is, everything else as Python prints it.
fn plain(field: &Field) -> String {
    match field {
        Field::Text(text) => text.to_string(),
        Field::Ip(id) => id.to_string(),
        other => other.to_string(),
    }
}
