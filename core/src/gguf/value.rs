//! Metadata values. Scalars are read at once; arrays are checked once and stay in the file.

use super::GgufError;
use super::cursor::Cursor;

/// Arrays in arrays are read this deep.
const MAX_DEPTH: usize = 4;

/// The type of a metadata value, by GGUF's numbers.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl ValueType {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::String,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    /// The type with GGUF's number `id`.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.get(id as usize).copied()
    }

    /// GGUF's number of the type.
    pub fn id(self) -> u32 {
        self as u32
    }

    /// Bytes of a value; for strings and arrays the fewest that one can take.
    fn least_bytes(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
            Self::String => 8,
            Self::Array => 12,
        }
    }
}

/// A metadata value. Numbers keep their kind, not their width.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An unsigned integer of any width.
    Unsigned(u64),
    /// A signed integer of any width.
    Signed(i64),
    /// A float of any width.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A string.
    String(String),
    /// An array, still in the file.
    Array(Array),
}

/// Where an array lies in the file. Its elements have been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Type of the elements.
    pub element: ValueType,
    /// How many.
    pub len: usize,
    /// Byte of the file where the first one begins.
    pub offset: u64,
}

impl Value {
    /// What it is, for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Unsigned(n) => format!("the unsigned integer {n}"),
            Self::Signed(n) => format!("the signed integer {n}"),
            Self::Float(x) => format!("the float {x}"),
            Self::Bool(b) => format!("the boolean {b}"),
            Self::String(_) => "a string".into(),
            Self::Array(a) => format!("an array of {} {:?}", a.len, a.element),
        }
    }
}

/// Reads the number of a value type.
pub(super) fn read_type(c: &mut Cursor<'_>, field: &str) -> Result<ValueType, GgufError> {
    let offset = c.offset();
    let id = c.u32(field)?;
    ValueType::from_id(id).ok_or_else(|| GgufError::BadType { field: field.to_owned(), offset, id })
}

/// Reads a value of type `kind`.
pub(super) fn read_value(c: &mut Cursor<'_>, kind: ValueType, field: &str) -> Result<Value, GgufError> {
    match kind {
        ValueType::String => Ok(Value::String(c.string(field)?.to_owned())),
        ValueType::Array => read_array(c, field, 1).map(Value::Array),
        _ => read_number(c, kind, field),
    }
}

fn read_number(c: &mut Cursor<'_>, kind: ValueType, field: &str) -> Result<Value, GgufError> {
    let offset = c.offset();
    let bytes = c.take(kind.least_bytes(), field)?;
    let mut wide = [0u8; 8];
    wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let bits = u64::from_le_bytes(wide);
    Ok(match kind {
        ValueType::I8 => Value::Signed((bits as u8 as i8).into()),
        ValueType::I16 => Value::Signed((bits as u16 as i16).into()),
        ValueType::I32 => Value::Signed((bits as u32 as i32).into()),
        ValueType::I64 => Value::Signed(bits as i64),
        ValueType::F32 => Value::Float(f32::from_bits(bits as u32).into()),
        ValueType::F64 => Value::Float(f64::from_bits(bits)),
        ValueType::Bool if bits > 1 => return Err(bad_bool(field, offset, bits as u8)),
        ValueType::Bool => Value::Bool(bits == 1),
        _ => Value::Unsigned(bits),
    })
}

fn bad_bool(field: &str, offset: u64, byte: u8) -> GgufError {
    GgufError::Invalid { field: field.to_owned(), offset, message: format!("a boolean is 0 or 1, not {byte}") }
}

/// Checks an array with all of its elements and moves behind it.
fn read_array(c: &mut Cursor<'_>, field: &str, depth: usize) -> Result<Array, GgufError> {
    if depth > MAX_DEPTH {
        return Err(GgufError::TooDeep { field: field.to_owned(), offset: c.offset(), limit: MAX_DEPTH });
    }
    let element = read_type(c, field)?;
    let len = c.count(element.least_bytes(), field)?;
    let offset = c.offset();
    match element {
        ValueType::String => {
            for _ in 0..len {
                c.string(field)?;
            }
        }
        ValueType::Array => {
            for _ in 0..len {
                read_array(c, field, depth + 1)?;
            }
        }
        _ => {
            // `count` has seen that the product fits.
            let bytes = c.take(element.least_bytes() * len as u64, field)?;
            if element == ValueType::Bool
                && let Some(i) = bytes.iter().position(|b| *b > 1)
            {
                return Err(bad_bool(field, offset + i as u64, bytes[i]));
            }
        }
    }
    Ok(Array { element, len, offset })
}
