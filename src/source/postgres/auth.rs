//! Who we are: the authentication exchange (PostgreSQL docs, "Message Flow", "Start-up").

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use secrecy::{ExposeSecret, SecretString};

use super::Error;
use super::clear_text::Asked;
use super::refusal::{clear_text, refused};
use super::socket::Privacy;

const OPERATION: &str = "authenticate";

/// The client's side of the exchange: messages in, messages out, no socket.
pub(super) struct Exchange<'a> {
    pub user: &'a str,
    pub password: Option<&'a SecretString>,
    pub privacy: &'a Privacy,
    scram: Option<ScramSha256>,
    /// Begun, and not yet proved by the server that it knows the password too.
    unproved: bool,
}

impl<'a> Exchange<'a> {
    pub fn new(user: &'a str, password: Option<&'a SecretString>, privacy: &'a Privacy) -> Exchange<'a> {
        Exchange { user, password, privacy, scram: None, unproved: false }
    }

    /// Takes an authentication message and writes the answer, if it wants one. Tells whether it was the
    /// last one.
    pub fn step(&mut self, message: &Message, out: &mut BytesMut) -> Result<bool, Error> {
        match message {
            Message::AuthenticationOk if self.unproved => {
                return Err(protocol("the server ended SCRAM without its proof"));
            }
            Message::AuthenticationOk => return Ok(true),
            Message::AuthenticationCleartextPassword => {
                if matches!(self.privacy, Privacy::Open) {
                    return Err(clear_text(OPERATION, &Asked));
                }
                frontend::password_message(self.password()?.as_bytes(), out).map_err(unsendable)?;
            }
            Message::AuthenticationMd5Password(body) => {
                let hash = md5_hash(self.user.as_bytes(), self.password()?.as_bytes(), body.salt());
                frontend::password_message(hash.as_bytes(), out).map_err(unsendable)?;
            }
            Message::AuthenticationSasl(body) => self.begin_scram(body, out)?,
            Message::AuthenticationSaslContinue(body) => {
                let scram = self.scram.as_mut().ok_or_else(|| protocol("SCRAM was not begun"))?;
                scram.update(body.data()).map_err(|error| protocol(&error.to_string()))?;
                frontend::sasl_response(scram.message(), out).map_err(unsendable)?;
            }
            Message::AuthenticationSaslFinal(body) => {
                let scram = self.scram.as_mut().ok_or_else(|| protocol("SCRAM was not begun"))?;
                scram.finish(body.data()).map_err(|_| {
                    refused(
                        "source-auth",
                        OPERATION,
                        "the server could not prove that it knows the password",
                        "make sure that this is the server that was meant",
                    )
                })?;
                self.unproved = false;
            }
            _ => {
                return Err(refused(
                    "source-auth",
                    OPERATION,
                    "the server asks for a method that is not supported here",
                    "use scram-sha-256 for this role in pg_hba.conf",
                ));
            }
        }
        Ok(false)
    }

    fn begin_scram(&mut self, body: &AuthenticationSaslBody, out: &mut BytesMut) -> Result<(), Error> {
        if self.scram.is_some() {
            return Err(protocol("SCRAM was begun twice"));
        }
        let (mut plain, mut plus) = (false, false);
        let mut offered = body.mechanisms();
        while let Some(mechanism) = offered.next().map_err(|error| protocol(&error.to_string()))? {
            plain |= mechanism == SCRAM_SHA_256;
            plus |= mechanism == SCRAM_SHA_256_PLUS;
        }
        // Where we could bind to the TLS session, that is said, so that nobody in between can talk the
        // server out of offering it.
        let (mechanism, binding) = match self.privacy {
            Privacy::Tls { end_point: Some(end_point) } if plus => {
                (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(end_point.clone()))
            }
            Privacy::Tls { end_point: Some(_) } if plain => (SCRAM_SHA_256, ChannelBinding::unrequested()),
            _ if plain => (SCRAM_SHA_256, ChannelBinding::unsupported()),
            _ => return Err(protocol("no SASL mechanism that is known here")),
        };
        let scram = ScramSha256::new(self.password()?.as_bytes(), binding);
        frontend::sasl_initial_response(mechanism, scram.message(), out).map_err(unsendable)?;
        self.scram = Some(scram);
        self.unproved = true;
        Ok(())
    }

    fn password(&self) -> Result<&'a str, Error> {
        self.password.map(ExposeSecret::expose_secret).ok_or_else(|| {
            let reason = "the server asks for a password and none is configured";
            refused("source-auth", OPERATION, reason, "configure the role's password")
        })
    }
}

fn protocol(reason: &str) -> Error {
    Error::Protocol { operation: OPERATION, reason: reason.to_owned() }
}

/// A password with a zero byte in it.
fn unsendable(_: std::io::Error) -> Error {
    refused("source-auth", OPERATION, "the password cannot be sent", "it must not hold a zero byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An authentication message of the server with this code and these bytes behind it.
    fn request(code: u32, body: &[u8]) -> Message {
        let mut bytes = BytesMut::from(&b"R"[..]);
        bytes.extend_from_slice(&(body.len() as u32 + 8).to_be_bytes());
        bytes.extend_from_slice(&code.to_be_bytes());
        bytes.extend_from_slice(body);
        Message::parse(&mut bytes).unwrap().unwrap()
    }

    fn code(result: Result<bool, Error>) -> &'static str {
        match result {
            Ok(_) => "accepted",
            Err(Error::Refused { code, .. }) => code,
            Err(_) => "protocol",
        }
    }

    #[test]
    fn clear_text_is_sent_only_where_nobody_can_listen() {
        let password = SecretString::from("secret");
        let tls = Privacy::Tls { end_point: None };
        for (privacy, expected) in
            [(Privacy::Open, "source-auth"), (Privacy::Local, "accepted"), (tls, "accepted")]
        {
            let mut out = BytesMut::new();
            let mut exchange = Exchange::new("me", Some(&password), &privacy);
            assert_eq!(code(exchange.step(&request(3, b""), &mut out)), expected);
            assert_eq!(out.is_empty(), expected == "source-auth");
        }
    }

    #[test]
    fn missing_password_and_foreign_methods_are_refused() {
        for (method, body, expected) in [
            (5, &b"salt"[..], "source-auth"),
            (10, b"SCRAM-SHA-256\0\0", "source-auth"),
            (7, b"", "source-auth"),
            (10, b"OTHER\0\0", "protocol"),
            (11, b"r=x", "protocol"),
            (12, b"v=x", "protocol"),
        ] {
            let mut exchange = Exchange::new("me", None, &Privacy::Open);
            assert_eq!(
                code(exchange.step(&request(method, body), &mut BytesMut::new())),
                expected,
                "{method}"
            );
        }
    }

    #[test]
    fn server_that_ends_scram_without_its_proof_is_refused() {
        let password = SecretString::from("secret");
        let mut exchange = Exchange::new("me", Some(&password), &Privacy::Open);
        let mut out = BytesMut::new();
        assert_eq!(code(exchange.step(&request(10, b"SCRAM-SHA-256\0\0"), &mut out)), "accepted");
        assert_eq!(code(exchange.step(&request(0, b""), &mut out)), "protocol");
    }

    #[test]
    fn channel_binding_is_used_where_both_can_and_asserted_where_only_we_can() {
        let password = SecretString::from("secret");
        let bound = || Privacy::Tls { end_point: Some(vec![1; 32]) };
        for (privacy, offered, expected) in [
            (bound(), &b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"[..], &b"p=tls-server-end-point,,"[..]),
            (bound(), b"SCRAM-SHA-256\0\0", b"y,,"),
            (Privacy::Open, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", b"n,,"),
        ] {
            let mut out = BytesMut::new();
            let mut exchange = Exchange::new("me", Some(&password), &privacy);
            exchange.step(&request(10, offered), &mut out).unwrap();
            assert!(out.windows(expected.len()).any(|window| window == expected));
        }
    }
}
