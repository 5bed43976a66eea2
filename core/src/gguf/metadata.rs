//! Metadata: typed values by key. Arrays are checked once and read from the mapped bytes when asked for.

use std::collections::HashMap;

use super::GgufError;
use super::cursor::Cursor;

/// Arrays in arrays go no deeper.
const MAX_DEPTH: usize = 4;

/// A metadata value. Numbers keep their width class; strings and arrays are ranges of the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any unsigned integer.
    Unsigned(u64),
    /// Any signed integer.
    Signed(i64),
    /// Any float.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A string.
    String(String),
    /// An array.
    Array(Array),
}

/// An array of one type, still in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// GGUF's number of the elements' type.
    pub element: u32,
    /// Elements.
    pub len: usize,
    /// Byte where the first one begins.
    pub offset: u64,
}

impl Value {
    fn kind(&self) -> String {
        match self {
            Self::Unsigned(_) => "an unsigned integer".into(),
            Self::Signed(_) => "a signed integer".into(),
            Self::Float(_) => "a float".into(),
            Self::Bool(_) => "a boolean".into(),
            Self::String(_) => "a string".into(),
            Self::Array(a) => format!("an array of type {}", a.element),
        }
    }
}

/// Reads a value of type `kind`.
pub(super) fn read_value(c: &mut Cursor<'_>, kind: u32, field: &str) -> Result<Value, GgufError> {
    if kind == 9 {
        let element = c.u32(field)?;
        let len = c.count(least_bytes(element).unwrap_or(1), field)?;
        let offset = c.offset();
        for_each_skipped(c, element, len, field, 1)?;
        return Ok(Value::Array(Array { element, len, offset }));
    }
    scalar(c, kind, field)
}

fn scalar(c: &mut Cursor<'_>, kind: u32, field: &str) -> Result<Value, GgufError> {
    let offset = c.offset();
    if kind == 8 {
        return Ok(Value::String(c.string(field)?.to_owned()));
    }
    let invalid = |message: String| GgufError::Invalid { field: field.to_owned(), offset, message };
    let width = width(kind).ok_or_else(|| invalid(format!("unknown metadata type {kind}")))?;
    let bytes = c.take(width, field)?;
    let mut wide = [0u8; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(wide);
    Ok(match kind {
        0 | 2 | 4 | 10 => Value::Unsigned(bits),
        1 => Value::Signed((bits as u8 as i8).into()),
        3 => Value::Signed((bits as u16 as i16).into()),
        5 => Value::Signed((bits as u32 as i32).into()),
        11 => Value::Signed(bits as i64),
        6 => Value::Float(f32::from_bits(bits as u32).into()),
        12 => Value::Float(f64::from_bits(bits)),
        _ if bits <= 1 => Value::Bool(bits == 1),
        _ => return Err(invalid(format!("a boolean of {bits}"))),
    })
}

/// Bytes of a scalar type.
fn width(kind: u32) -> Option<u64> {
    Some(match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        _ => return None,
    })
}

/// The fewest bytes that an element takes: what bounds a count.
fn least_bytes(kind: u32) -> Option<u64> {
    match kind {
        8 => Some(8),
        9 => Some(12),
        _ => width(kind),
    }
}

/// Walks over elements, checking each that could be malformed.
fn for_each_skipped(c: &mut Cursor<'_>, kind: u32, len: usize, field: &str, depth: usize) -> Result<(), GgufError> {
    let invalid = |offset, message| GgufError::Invalid { field: field.to_owned(), offset, message };
    match kind {
        8 => (0..len).try_for_each(|_| c.string(field).map(drop)),
        9 if depth >= MAX_DEPTH => Err(invalid(c.offset(), format!("arrays nested deeper than {MAX_DEPTH}"))),
        9 => (0..len).try_for_each(|_| {
            let element = c.u32(field)?;
            let n = c.count(least_bytes(element).unwrap_or(1), field)?;
            for_each_skipped(c, element, n, field, depth + 1)
        }),
        _ => {
            let width = width(kind).ok_or_else(|| invalid(c.offset(), format!("unknown metadata type {kind}")))?;
            c.take(width * len as u64, field).map(drop)
        }
    }
}

/// All metadata of a file.
#[derive(Debug)]
pub struct Metadata {
    /// Where `values` came from, for arrays.
    pub(super) map: std::sync::Arc<memmap2::Mmap>,
    /// Value and the byte where it begins, by key.
    pub(super) values: HashMap<String, (Value, u64)>,
}

impl Metadata {
    /// A value of any type.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).map(|(v, _)| v)
    }

    /// The keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    fn opt<T>(
        &self,
        key: &str,
        want: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some((value, offset)) = self.values.get(key) else { return Ok(None) };
        match read(value) {
            Some(v) => Ok(Some(v)),
            None => Err(GgufError::WrongType { key: key.into(), want, found: value.kind(), offset: *offset }),
        }
    }

    fn must<T>(key: &str, value: Option<T>) -> Result<T, GgufError> {
        value.ok_or_else(|| GgufError::MissingKey { key: key.into() })
    }

    /// A string that may be missing.
    ///
    /// # Errors
    /// A value of another type; so for all of these.
    pub fn opt_str(&self, key: &str) -> Result<Option<&str>, GgufError> {
        let Some((value, offset)) = self.values.get(key) else { return Ok(None) };
        match value {
            Value::String(s) => Ok(Some(s)),
            other => {
                Err(GgufError::WrongType { key: key.into(), want: "a string", found: other.kind(), offset: *offset })
            }
        }
    }

    /// An integer of any width that fits in 32 bits and may be missing.
    ///
    /// # Errors
    /// As [`Metadata::opt_str`].
    pub fn opt_u32(&self, key: &str) -> Result<Option<u32>, GgufError> {
        self.opt(key, "an integer of 32 bits", |v| match v {
            Value::Unsigned(n) => u32::try_from(*n).ok(),
            Value::Signed(n) => u32::try_from(*n).ok(),
            _ => None,
        })
    }

    /// A float that may be missing.
    ///
    /// # Errors
    /// As [`Metadata::opt_str`].
    pub fn opt_f32(&self, key: &str) -> Result<Option<f32>, GgufError> {
        self.opt(key, "a float", |v| match v {
            Value::Float(x) => Some(*x as f32),
            _ => None,
        })
    }

    /// A boolean that may be missing.
    ///
    /// # Errors
    /// As [`Metadata::opt_str`].
    pub fn opt_bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.opt(key, "a boolean", |v| match v {
            Value::Bool(b) => Some(*b),
            _ => None,
        })
    }

    /// A string.
    ///
    /// # Errors
    /// A missing key or a value of another type; so for all of these.
    pub fn str(&self, key: &str) -> Result<&str, GgufError> {
        Self::must(key, self.opt_str(key)?)
    }

    /// An integer that fits in 32 bits.
    ///
    /// # Errors
    /// As [`Metadata::str`].
    pub fn u32(&self, key: &str) -> Result<u32, GgufError> {
        Self::must(key, self.opt_u32(key)?)
    }

    /// A float.
    ///
    /// # Errors
    /// As [`Metadata::str`].
    pub fn f32(&self, key: &str) -> Result<f32, GgufError> {
        Self::must(key, self.opt_f32(key)?)
    }

    fn array(&self, key: &str, want: &'static str, elements: &[u32]) -> Result<Option<&Array>, GgufError> {
        let Some((value, offset)) = self.values.get(key) else { return Ok(None) };
        match value {
            Value::Array(a) if elements.contains(&a.element) => Ok(Some(a)),
            other => Err(GgufError::WrongType { key: key.into(), want, found: other.kind(), offset: *offset }),
        }
    }

    /// An array of strings that may be missing.
    ///
    /// # Errors
    /// As [`Metadata::opt_str`].
    pub fn opt_strings(&self, key: &str) -> Result<Option<Vec<&str>>, GgufError> {
        let Some(a) = self.array(key, "an array of strings", &[8])? else { return Ok(None) };
        let mut c = Cursor::new(&self.map, a.offset as usize);
        (0..a.len).map(|_| c.string(key)).collect::<Result<_, _>>().map(Some)
    }

    /// An array of floats that may be missing.
    ///
    /// # Errors
    /// As [`Metadata::opt_str`].
    pub fn opt_f32s(&self, key: &str) -> Result<Option<Vec<f32>>, GgufError> {
        let Some(a) = self.array(key, "an array of floats", &[6])? else { return Ok(None) };
        let mut c = Cursor::new(&self.map, a.offset as usize);
        (0..a.len).map(|_| Ok(f32::from_bits(c.u32(key)?))).collect::<Result<_, _>>().map(Some)
    }

    /// An array of 32-bit integers that may be missing.
    ///
    /// # Errors
    /// As [`Metadata::opt_str`].
    pub fn opt_i32s(&self, key: &str) -> Result<Option<Vec<i32>>, GgufError> {
        let Some(a) = self.array(key, "an array of 32-bit integers", &[4, 5])? else { return Ok(None) };
        let mut c = Cursor::new(&self.map, a.offset as usize);
        (0..a.len).map(|_| Ok(c.u32(key)? as i32)).collect::<Result<_, _>>().map(Some)
    }

    /// An array of strings.
    ///
    /// # Errors
    /// As [`Metadata::str`].
    pub fn strings(&self, key: &str) -> Result<Vec<&str>, GgufError> {
        Self::must(key, self.opt_strings(key)?)
    }
}
