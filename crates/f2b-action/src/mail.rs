//! The action that sends a mail when its jail starts, stops and bans: `smtp.py`, built in.
//!
//! A ban that a restart brings back is no news, and neither is its end.
//!
//! Upstream: `config/action.d/smtp.py`, and `action.ActionBase`.

use std::collections::BTreeMap;

use f2b_protocol::Value;
use f2b_types::Level;
use serde_json::Value as Json;

use crate::error::ActionError;
use crate::message::{BanNews, Mail, Matches};
use crate::run::Run;
use crate::script::Subject;
use crate::smtp::{MailError, Parcel, dict_of, send};
use crate::told::Arguments;

/// The logger of upstream's class.
pub(crate) const CLASS: &str = "SMTPAction";
const LOGGER: &str = CLASS;

/// The options, the properties that they become, and what they are unless they are given.
const OPTIONS: &[(&str, &str, Option<&str>)] = &[
    ("host", "host", Some("localhost")),
    ("ssl", "ssl", None),
    ("user", "user", None),
    ("password", "password", None),
    ("sendername", "fromname", Some("Fail2Ban")),
    ("sender", "fromaddr", Some("fail2ban")),
    ("dest", "toaddr", Some("root")),
    ("matches", "matches", None),
];

/// What upstream's object can do.
const METHODS: &[&str] = &["ban", "reban", "start", "stop", "unban"];

/// One action of a jail that sends mails.
#[derive(Debug)]
pub struct MailAction {
    name: String,
    properties: BTreeMap<String, Value>,
}

impl MailAction {
    /// An action with options as the configuration gives them, an object in JSON.
    pub(crate) fn new(name: &str, options: &str) -> Result<Self, ActionError> {
        let parsed: Json = serde_json::from_str(options).map_err(|e| ActionError::Options(e.to_string()))?;
        let Json::Object(given) = parsed else {
            return Err(ActionError::Options("the options are no object".into()));
        };
        let mut properties = BTreeMap::from([("norestored".to_owned(), Value::Int(1))]);
        for (_, property, default) in OPTIONS {
            properties.insert((*property).into(), default.map_or(Value::None, Value::from));
        }
        properties.insert("ssl".into(), Value::Bool(false));
        for (option, value) in given {
            let known = OPTIONS.iter().find(|(name, _, _)| *name == option);
            let (_, property, _) = known.ok_or(ActionError::Argument(option))?;
            properties.insert((*property).into(), value_of(&value));
        }
        Ok(Self { name: name.into(), properties })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn get(&self, property: &str) -> Result<Value, ActionError> {
        self.properties.get(property).cloned().ok_or_else(|| no_property(property))
    }

    pub(crate) fn set(&mut self, property: &str, value: Value) -> Result<(), ActionError> {
        if METHODS.contains(&property) {
            return Err(ActionError::NotSettable(property.into()));
        }
        self.properties.insert(property.into(), value);
        Ok(())
    }

    pub(crate) fn properties(&self) -> Vec<&str> {
        self.properties.keys().map(String::as_str).filter(|name| !name.starts_with('_')).collect()
    }

    pub(crate) fn methods(&self) -> &'static [&'static str] {
        METHODS
    }

    pub(crate) fn start(&self, run: &Run<'_>) -> Result<(), ActionError> {
        self.send(&Mail::started(run.jail, &run.context.names.sh_hostname()), run)
    }

    pub(crate) fn stop(&self, run: &Run<'_>) -> Result<(), ActionError> {
        self.send(&Mail::stopped(run.jail, &run.context.names.sh_hostname()), run)
    }

    /// Calls a method with arguments, and gives what it returns: nothing.
    pub(crate) fn call(
        &self,
        method: &str,
        arguments: &Arguments,
        run: &Run<'_>,
    ) -> Result<Value, ActionError> {
        match method {
            "start" => self.start(run),
            "stop" => self.stop(run),
            "ban" | "reban" => self.ban(&arguments.info()?, run),
            _ => Ok(()),
        }?;
        Ok(Value::None)
    }

    pub(crate) fn ban(&self, info: &dyn Subject, run: &Run<'_>) -> Result<(), ActionError> {
        if info.is_restored() {
            return Ok(());
        }
        let tag = |name| info.tag(name).unwrap_or_default();
        let matches = Matches::parse(&self.text("matches")).map(|kind| (kind, tag(kind.tag())));
        let mail = Mail::banned(&BanNews {
            jail: run.jail,
            host: &run.context.names.sh_hostname(),
            ip: &tag("ip"),
            ban_time: run.context.ban_time as i64,
            failures: &tag("failures"),
            matches: matches.as_ref().map(|(kind, lines)| (*kind, lines.as_str())),
        });
        self.send(&mail, run)
    }

    fn text(&self, property: &str) -> String {
        match self.properties.get(property) {
            None | Some(Value::None) => String::new(),
            Some(value) => value.to_text(),
        }
    }

    fn send(&self, mail: &Mail, run: &Run<'_>) -> Result<(), ActionError> {
        let text = |property| self.text(property);
        let (host, from, to) = (text("host"), text("fromaddr"), text("toaddr"));
        let (user, password) = (text("user"), text("password"));
        let result = split_host(&host).and_then(|(name, port)| {
            let recipients: Vec<&str> = to.split(',').map(address_of).filter(|to| !to.is_empty()).collect();
            send(&Parcel {
                host: name,
                port,
                hello: &run.context.names.fq_hostname(),
                tls: is_on(&text("ssl")),
                login: (!user.is_empty() && !password.is_empty()).then_some((&user, &password)),
                from: address_of(&from),
                to: &recipients,
                mail: &mail.compose((&text("fromname"), &from), &to, run.context.now),
            })
        });
        let sent = match result {
            Ok(sent) => sent,
            Err(error) => {
                match &error {
                    // Upstream catches what its SMTP library raises, not what comes from the network.
                    MailError::Network(_) | MailError::Host(_) | MailError::Address(_) => {}
                    MailError::Greeting(_) => {
                        run.log(Level::ERROR, LOGGER, || format!("Error connecting to host '{host}'"));
                    }
                    MailError::Login(_) => run.log(Level::ERROR, LOGGER, || {
                        format!("Failed to authenticate with host '{host}' user '{user}'")
                    }),
                    _ => run.log(Level::ERROR, LOGGER, || {
                        format!("Error sending mail to host '{host}' from '{from}' to '{to}'")
                    }),
                }
                return Err(ActionError::Mail(error));
            }
        };
        if !sent.refused.is_empty() {
            run.log(Level::WARNING, LOGGER, || {
                format!("Email to '{to}' failed to following recipients: {}", dict_of(&sent.refused))
            });
        }
        run.log(Level::DEBUG, LOGGER, || format!("Email '{}' successfully sent", mail.subject));
        if let Some(reply) = &sent.farewell {
            run.log(Level::DEBUG, LOGGER, || {
                format!("Disconnected from '{host}', response {}: {}", reply.code, reply.bytes())
            });
        }
        Ok(())
    }
}

pub(crate) fn no_property(name: &str) -> ActionError {
    ActionError::NoProperty { class: CLASS, name: name.into() }
}

/// `name`, `name:port` or `[address]:port`. (Upstream's port has to be given, and its address can be no IPv6 one.)
fn split_host(host: &str) -> Result<(&str, u16), MailError> {
    let wrong = || MailError::Host(host.into());
    let (name, port) = match host.rsplit_once(':') {
        Some((name, _)) if name.contains(':') && !name.starts_with('[') => (host, "25"),
        Some((name, port)) if !host.ends_with(']') => (name, port),
        _ => (host, "25"),
    };
    let name = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    if name.is_empty() { Err(wrong()) } else { Ok((name, port.parse().map_err(|_| wrong())?)) }
}

/// The address in `Name <address>`, or the text itself.
fn address_of(text: &str) -> &str {
    let inner = text.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(inner, _)| inner);
    inner.unwrap_or(text).trim()
}

/// A switch as people write it; upstream takes any text for true.
fn is_on(text: &str) -> bool {
    !matches!(text.to_lowercase().as_str(), "" | "0" | "no" | "off" | "false" | "none")
}

fn value_of(json: &Json) -> Value {
    match json {
        Json::Null => Value::None,
        Json::Bool(yes) => Value::Bool(*yes),
        Json::String(text) => text.as_str().into(),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(n), _) => Value::Int(n),
            (None, x) => Value::Float(x.unwrap_or_default()),
        },
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_properties_under_other_names() {
        let action = MailAction::new("smtp", r#"{"host": "mx:587", "dest": "a@b", "ssl": true}"#);
        let mut action = action.expect("an action");
        for (property, value) in [
            ("host", "mx:587".into()),
            ("toaddr", "a@b".into()),
            ("fromaddr", "fail2ban".into()),
            ("fromname", "Fail2Ban".into()),
            ("ssl", Value::Bool(true)),
            ("user", Value::None),
            ("norestored", Value::Int(1)),
        ] {
            assert_eq!(action.get(property), Ok(value), "{property}");
        }
        assert_eq!(action.get("dest"), Err(no_property("dest")));
        assert_eq!(action.set("matches", "ipmatches".into()), Ok(()));
        assert_eq!(action.get("matches"), Ok("ipmatches".into()));
        assert!(action.set("start", "x".into()).is_err());
        assert_eq!(action.properties().first(), Some(&"fromaddr"));
    }

    #[test]
    fn wrong_options_are_named() {
        let error =
            |options| MailAction::new("smtp", options).expect_err("refused").to_exception().to_string();
        let unexpected = "SMTPAction.__init__() got an unexpected keyword argument 'hots'";
        assert_eq!(error(r#"{"hots": "mx"}"#), format!("TypeError(\"{unexpected}\")"));
        for wrong in ["", "{", "[]", "5"] {
            assert!(error(wrong).starts_with("ValueError("), "{wrong}");
        }
    }

    #[test]
    fn hosts_may_have_ports() {
        for (host, expected) in [
            ("localhost", ("localhost", 25)),
            ("mx.example.org:587", ("mx.example.org", 587)),
            ("::1", ("::1", 25)),
            ("[::1]", ("::1", 25)),
            ("[::1]:2525", ("::1", 2525)),
        ] {
            assert_eq!(split_host(host), Ok(expected));
        }
        for wrong in ["", ":25", "mx:", "mx:smtp", "mx:99999"] {
            assert_eq!(split_host(wrong), Err(MailError::Host(wrong.into())));
        }
    }

    #[test]
    fn addresses_may_have_names() {
        for (text, address) in [("root", "root"), (" a@b ", "a@b"), ("Me <a@b>", "a@b"), ("<a@b", "<a@b")] {
            assert_eq!(address_of(text), address);
        }
        assert!(is_on("True") && is_on("1") && !is_on("False") && !is_on("no") && !is_on(""));
    }
}
