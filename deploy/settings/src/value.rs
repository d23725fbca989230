//! Values a key may have: the trait, what TOML offers, and the plain types.

use std::net::{IpAddr, SocketAddr};

use toml_span::Span;
use toml_span::value::ValueInner;

/// A value and where in the file it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spanned<T> {
    /// What was read.
    pub value: T,
    /// Its place in the file, in bytes; the table's place for a default.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Another value at the same place.
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned {
            value: to(self.value),
            span: self.span,
        }
    }
}

/// A value as it stands in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    /// A text in quotes.
    String(&'a str),
    /// A whole number.
    Integer(i64),
    /// A number with a decimal point.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A list, where one value was wanted.
    Array,
    /// A table, where one value was wanted.
    Table,
}

impl<'a> Scalar<'a> {
    pub(crate) fn of(value: &'a toml_span::Value<'_>) -> Self {
        match value.as_ref() {
            ValueInner::String(text) => Self::String(text),
            ValueInner::Integer(number) => Self::Integer(*number),
            ValueInner::Float(number) => Self::Float(*number),
            ValueInner::Boolean(value) => Self::Bool(*value),
            ValueInner::Array(_) => Self::Array,
            ValueInner::Table(_) => Self::Table,
        }
    }

    /// How a message names it; long texts are cut.
    pub(crate) fn describe(self) -> String {
        /// Characters of a text that a message repeats.
        const SHOWN: usize = 60;
        match self {
            Self::String(text) if text.chars().count() > SHOWN => {
                format!("{:?}…", text.chars().take(SHOWN).collect::<String>())
            }
            Self::String(text) => format!("{text:?}"),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Array => "a list".to_owned(),
            Self::Table => "a table".to_owned(),
        }
    }
}

/// Why a value was not taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wrong {
    /// The reason, where "expected …" does not say it all.
    pub reason: Option<String>,
    /// The value that was probably meant, as one would write it.
    pub write: Option<String>,
}

impl Wrong {
    /// Wrong for this reason.
    pub fn because(reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            write: None,
        }
    }

    /// … and this is what was probably meant.
    #[must_use]
    pub fn write(mut self, write: impl Into<String>) -> Self {
        self.write = Some(write.into());
        self
    }
}

/// A type that a key's value can be read as.
pub trait Value: Sized {
    /// What is expected, to follow the word "expected".
    const EXPECTED: &'static str;
    /// A right value, as one would write it in the file.
    const EXAMPLE: &'static str;

    /// Reads the value.
    ///
    /// # Errors
    /// [`Wrong`] when the value has another type or does not make sense.
    fn read(scalar: Scalar<'_>) -> Result<Self, Wrong>;

    /// The value as one would write it in the file.
    fn write(&self) -> String;
}

impl Value for String {
    const EXPECTED: &'static str = "a text in quotes";
    const EXAMPLE: &'static str = "\"text\"";

    fn read(scalar: Scalar<'_>) -> Result<Self, Wrong> {
        match scalar {
            Scalar::String(text) => Ok(text.to_owned()),
            Scalar::Integer(_) | Scalar::Float(_) | Scalar::Bool(_) => {
                Err(Wrong::default().write(format!("\"{}\"", scalar.describe())))
            }
            _ => Err(Wrong::default()),
        }
    }

    fn write(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";
    const EXAMPLE: &'static str = "true";

    fn read(scalar: Scalar<'_>) -> Result<Self, Wrong> {
        match scalar {
            Scalar::Bool(value) => Ok(value),
            Scalar::String("true" | "yes" | "on") | Scalar::Integer(1) => {
                Err(Wrong::default().write("true"))
            }
            Scalar::String("false" | "no" | "off") | Scalar::Integer(0) => {
                Err(Wrong::default().write("false"))
            }
            _ => Err(Wrong::default()),
        }
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

macro_rules! integers {
    ($($type:ty: $expected:literal),*) => {$(
        impl Value for $type {
            const EXPECTED: &'static str = $expected;
            const EXAMPLE: &'static str = "1";

            fn read(scalar: Scalar<'_>) -> Result<Self, Wrong> {
                match scalar {
                    Scalar::Integer(number) => {
                        Self::try_from(number).map_err(|_| Wrong::because("out of range"))
                    }
                    Scalar::String(text) => Err(match text.parse::<Self>() {
                        Ok(number) => {
                            Wrong::because("a number stands without quotes").write(number.to_string())
                        }
                        Err(_) => Wrong::default(),
                    }),
                    _ => Err(Wrong::default()),
                }
            }

            fn write(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

integers! {
    u8: "a whole number from 0 to 255",
    u16: "a whole number from 0 to 65535",
    u32: "a whole number from 0 to 4294967295",
    u64: "a whole number of at least 0",
    usize: "a whole number of at least 0"
}

impl Value for f64 {
    const EXPECTED: &'static str = "a number";
    const EXAMPLE: &'static str = "1.5";

    fn read(scalar: Scalar<'_>) -> Result<Self, Wrong> {
        match scalar {
            Scalar::Float(number) => Ok(number),
            // Whole ones that a file means are small enough to be exact.
            Scalar::Integer(number) => i32::try_from(number)
                .map(Self::from)
                .map_err(|_| Wrong::because("out of range")),
            Scalar::String(text) => Err(match text.parse::<Self>() {
                Ok(number) => {
                    Wrong::because("a number stands without quotes").write(number.to_string())
                }
                Err(_) => Wrong::default(),
            }),
            _ => Err(Wrong::default()),
        }
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for IpAddr {
    const EXPECTED: &'static str = "an IP address in quotes";
    const EXAMPLE: &'static str = "\"192.0.2.1\"";

    fn read(scalar: Scalar<'_>) -> Result<Self, Wrong> {
        let Scalar::String(text) = scalar else {
            return Err(Wrong::default());
        };
        text.parse().map_err(|_| match text.parse::<SocketAddr>() {
            Ok(address) => {
                let ip = address.ip();
                Wrong::because("no port belongs here").write(ip.write())
            }
            Err(_) => Wrong::default(),
        })
    }

    fn write(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Value for SocketAddr {
    const EXPECTED: &'static str = "an IP address and port in quotes";
    const EXAMPLE: &'static str = "\"192.0.2.1:3478\"";

    fn read(scalar: Scalar<'_>) -> Result<Self, Wrong> {
        let Scalar::String(text) = scalar else {
            return Err(Wrong::default());
        };
        text.parse().map_err(|_| {
            let bare = text.trim_start_matches('[').trim_end_matches(']');
            if let Ok(ip) = bare.parse::<IpAddr>() {
                return Wrong::because("the port is missing").write(Self::new(ip, 3478).write());
            }
            let port = text.strip_prefix(':').or_else(|| text.strip_prefix("*:"));
            match port.and_then(|port| port.parse().ok()) {
                Some(port) => Wrong::because("the address is missing")
                    .write(Self::new([0; 16].into(), port).write()),
                None => Wrong::default(),
            }
        })
    }

    fn write(&self) -> String {
        format!("\"{self}\"")
    }
}
