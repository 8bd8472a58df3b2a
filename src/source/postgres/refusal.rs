//! What the server's and the network's refusals mean to us: another try, or a person.

use std::io;

use postgres_protocol::message::backend::ErrorFields;

use fallible_iterator::FallibleIterator;

use super::Error;
use super::clear_text::Asked;

/// What is kept of a message: whoever has not proved who he is may write one too.
const MESSAGE_CHARS_MAX: usize = 500;

const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// What is kept of an ErrorResponse (PostgreSQL docs, "Error and Notice Message Fields"). Never DETAIL and
/// CONTEXT, which quote row values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub sqlstate: String,
    pub message: String,
}

impl Refusal {
    pub fn new(sqlstate: &str, message: &str) -> Refusal {
        // Data exceptions and violated constraints quote the value in the message itself.
        let message = match sqlstate.get(..2) {
            Some("22") => "the server could not use a value",
            Some("23") => "a constraint was violated",
            _ => message,
        };
        let printable = |character: char| if character.is_control() { ' ' } else { character };
        Refusal {
            sqlstate: sqlstate.chars().take(5).map(printable).collect(),
            message: message.chars().take(MESSAGE_CHARS_MAX).map(printable).collect(),
        }
    }

    pub fn from_fields(mut fields: ErrorFields<'_>) -> Refusal {
        let (mut sqlstate, mut message) = (String::new(), String::new());
        while let Ok(Some(field)) = fields.next() {
            let target = match field.type_() {
                b'C' => &mut sqlstate,
                b'M' => &mut message,
                _ => continue,
            };
            *target = String::from_utf8_lossy(field.value_bytes()).into_owned();
        }
        Refusal::new(&sqlstate, &message)
    }

    /// While connecting.
    pub fn at_connect(self, operation: &'static str) -> Error {
        let (code, hint) = match self.sqlstate.as_str() {
            "28P01" => ("source-auth", "check the role's name and password"),
            "28000" if self.message.contains("pg_hba.conf") => (
                "source-auth",
                "add a line for this role, database and address to pg_hba.conf (the database by its name, \
                 not `replication`) and reload the server",
            ),
            "28000" => ("source-auth", "the role must exist and have LOGIN"),
            INSUFFICIENT_PRIVILEGE => {
                ("source-auth", "give the role what it lacks: ALTER ROLE .. REPLICATION")
            }
            "3D000" => ("source-database", "check the name of the database"),
            _ => return self.at_statement(operation),
        };
        let reason = format!("{} (SQLSTATE {})", self.message, self.sqlstate);
        Error::Refused { code, operation, reason, hint: hint.to_owned() }
    }

    /// As the answer to a statement.
    pub fn at_statement(self, operation: &'static str) -> Error {
        let Refusal { sqlstate, message } = self;
        match sqlstate.as_str() {
            // The server starts, stops, crashed, or is out of something; the slot is still active for
            // someone; class 08 is the connection itself.
            "57P01" | "57P02" | "57P03" | "55006" => (),
            class if class.starts_with("53") || class.starts_with("08") && class != "08P01" => (),
            _ => return Error::Server { operation, sqlstate, message },
        }
        Error::Retry { operation, reason: format!("{message} (SQLSTATE {sqlstate})") }
    }
}

/// An error of the network or of TLS. Only a certificate that will not do is final: everything else may be
/// a bad moment of the network, even a broken TLS record.
pub(super) fn network(operation: &'static str, error: &io::Error) -> Error {
    if let Some(asked) = error.get_ref().and_then(|inner| inner.downcast_ref::<Asked>()) {
        return clear_text(operation, asked);
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(error) => tls(operation, error),
        None => Error::Retry { operation, reason: error.to_string() },
    }
}

fn tls(operation: &'static str, error: &rustls::Error) -> Error {
    use rustls::CertificateError as Certificate;
    let hint = match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "the certificate names another host: connect by a name that is in it"
            }
            Certificate::UnknownIssuer => "name the CA that signed the server's certificate in ssl_ca",
            Certificate::Expired | Certificate::ExpiredContext { .. } => "renew the server's certificate",
            _ => "the server needs a certificate signed by a CA (a self-signed one cannot be its own CA)",
        },
        rustls::Error::NoCertificatesPresented => "the server needs a certificate",
        rustls::Error::PeerIncompatible(_) => "the server must speak TLS 1.2 or 1.3",
        _ => return Error::Retry { operation, reason: format!("TLS: {error}") },
    };
    Error::Refused { code: "source-tls", operation, reason: error.to_string(), hint: hint.to_owned() }
}

/// As an answer to what only owners and superusers may do: without the right another try is in vain.
pub(super) fn without_right(error: Error) -> Error {
    match error {
        Error::Server { operation, sqlstate, message } if sqlstate == INSUFFICIENT_PRIVILEGE => refused(
            "source-no-right",
            operation,
            &message,
            "let a superuser run the script of `projectord setup-sql`, then set source.manage to false",
        ),
        other => other,
    }
}

/// A password that everybody on the way could read is not given.
pub(super) fn clear_text(operation: &'static str, asked: &Asked) -> Error {
    refused("source-auth", operation, &asked.to_string(), "use scram-sha-256 in pg_hba.conf, or TLS")
}

/// A plain refusal of ours while connecting.
pub(super) fn refused(code: &'static str, operation: &'static str, reason: &str, hint: &str) -> Error {
    Error::Refused { code, operation, reason: reason.to_owned(), hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(error: Error) -> &'static str {
        match error {
            Error::Retry { .. } => "retry",
            Error::Refused { code, .. } => code,
            Error::Server { .. } => "server",
            Error::Protocol { .. } => "protocol",
        }
    }

    #[test]
    fn refusals_while_connecting_are_told_apart() {
        for (sqlstate, expected) in [
            ("28P01", "source-auth"),
            ("28000", "source-auth"),
            ("42501", "source-auth"),
            ("3D000", "source-database"),
            ("57P03", "retry"),
            ("53300", "retry"),
            ("42704", "server"),
        ] {
            assert_eq!(class(Refusal::new(sqlstate, "x").at_connect("connect")), expected, "{sqlstate}");
        }
    }

    #[test]
    fn refused_statements_keep_their_sqlstate_unless_another_try_may_help() {
        for (sqlstate, expected) in [
            ("55006", "retry"),
            ("57P01", "retry"),
            ("53100", "retry"),
            ("08006", "retry"),
            ("08P01", "server"),
            ("57014", "server"),
            ("55P03", "server"),
            ("42501", "server"),
            ("42704", "server"),
            ("55000", "server"),
        ] {
            assert_eq!(class(Refusal::new(sqlstate, "x").at_statement("ask")), expected, "{sqlstate}");
        }
    }

    #[test]
    fn lack_of_a_right_is_final_where_it_is_needed() {
        let without = |sqlstate| class(without_right(Refusal::new(sqlstate, "x").at_statement("create")));
        assert_eq!(
            [without("42501"), without("42710"), without("57P01")],
            ["source-no-right", "server", "retry"]
        );
    }

    #[test]
    fn message_that_quotes_a_value_is_dropped() {
        for sqlstate in ["22P02", "23505"] {
            let error = Refusal::new(sqlstate, "invalid input: \"secret\"").at_statement("ask");
            assert!(!error.to_string().contains("secret"));
            assert!(error.to_string().contains(sqlstate));
        }
    }

    #[test]
    fn message_is_cut_and_cannot_break_a_line() {
        let refusal = Refusal::new("XX000 and more", &"a\nb".repeat(1000));
        assert_eq!((refusal.sqlstate.as_str(), refusal.message.len()), ("XX000", MESSAGE_CHARS_MAX));
        assert!(refusal.message.starts_with("a ba b"));
    }

    #[test]
    fn wrong_certificate_is_final_and_a_broken_record_is_not() {
        use rustls::{CertificateError, Error as Tls};
        for (error, expected) in [
            (Tls::InvalidCertificate(CertificateError::UnknownIssuer), "source-tls"),
            (Tls::InvalidCertificate(CertificateError::NotValidForName), "source-tls"),
            (Tls::DecryptError, "retry"),
        ] {
            let error = io::Error::new(io::ErrorKind::InvalidData, error);
            assert_eq!(class(network("connect", &error)), expected, "{error}");
        }
        assert_eq!(class(network("connect", &io::ErrorKind::ConnectionRefused.into())), "retry");
    }
}
