//! Typed access to metadata by key.

use std::collections::HashMap;
use std::sync::Arc;

use super::cursor::Cursor;
use super::file::Bytes;
use super::{Array, GgufError, Value, ValueType};

/// All metadata of a file.
///
/// Getters named after a type want the key; those named `opt_…` give `None` where it is missing. All refuse a
/// value of another type. Integers convert between widths and signs where the value fits.
#[derive(Debug)]
pub struct Metadata {
    /// The file, for the arrays in it.
    pub(super) bytes: Arc<Bytes>,
    /// Value, and the byte where it begins, by key.
    pub(super) values: HashMap<String, (Value, u64)>,
}

impl Metadata {
    /// A value of any type.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).map(|(v, _)| v)
    }

    /// Byte of the file where the value of `key` begins.
    pub fn offset(&self, key: &str) -> Option<u64> {
        self.values.get(key).map(|(_, offset)| *offset)
    }

    /// The keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    fn opt<'a, T>(
        &'a self,
        key: &str,
        want: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some((value, offset)) = self.values.get(key) else { return Ok(None) };
        let wrong = || GgufError::WrongType { key: key.into(), want, found: value.describe(), offset: *offset };
        read(value).map(Some).ok_or_else(wrong)
    }

    /// A string that may be missing.
    ///
    /// # Errors
    /// [`GgufError::WrongType`].
    pub fn opt_str(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.opt(key, "a string", |v| match v {
            Value::String(s) => Some(s.as_str()),
            _ => None,
        })
    }

    /// An integer that may be missing.
    ///
    /// # Errors
    /// [`GgufError::WrongType`], also for a value that leaves 32 bits.
    pub fn opt_u32(&self, key: &str) -> Result<Option<u32>, GgufError> {
        self.opt(key, "an unsigned integer of 32 bits", |v| unsigned(v).and_then(|n| n.try_into().ok()))
    }

    /// An integer that may be missing.
    ///
    /// # Errors
    /// [`GgufError::WrongType`], also for a negative value.
    pub fn opt_u64(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.opt(key, "an unsigned integer", unsigned)
    }

    /// A float that may be missing.
    ///
    /// # Errors
    /// [`GgufError::WrongType`].
    pub fn opt_f32(&self, key: &str) -> Result<Option<f32>, GgufError> {
        self.opt(key, "a float", |v| match v {
            Value::Float(x) => Some(*x as f32),
            _ => None,
        })
    }

    /// A boolean that may be missing.
    ///
    /// # Errors
    /// [`GgufError::WrongType`].
    pub fn opt_bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.opt(key, "a boolean", |v| match v {
            Value::Bool(b) => Some(*b),
            _ => None,
        })
    }

    /// A string.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`], [`GgufError::WrongType`].
    pub fn str(&self, key: &str) -> Result<&str, GgufError> {
        must(key, self.opt_str(key)?)
    }

    /// An integer.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`], [`GgufError::WrongType`].
    pub fn u32(&self, key: &str) -> Result<u32, GgufError> {
        must(key, self.opt_u32(key)?)
    }

    /// An integer.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`], [`GgufError::WrongType`].
    pub fn u64(&self, key: &str) -> Result<u64, GgufError> {
        must(key, self.opt_u64(key)?)
    }

    /// A float.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`], [`GgufError::WrongType`].
    pub fn f32(&self, key: &str) -> Result<f32, GgufError> {
        must(key, self.opt_f32(key)?)
    }

    /// A boolean.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`], [`GgufError::WrongType`].
    pub fn bool(&self, key: &str) -> Result<bool, GgufError> {
        must(key, self.opt_bool(key)?)
    }

    /// Reads an array element by element; `None` from `read` is an element of another type.
    fn array<'a, T>(
        &'a self,
        key: &str,
        want: &'static str,
        elements: &[ValueType],
        read: impl Fn(&mut Cursor<'a>, ValueType) -> Result<T, GgufError>,
    ) -> Result<Option<Vec<T>>, GgufError> {
        let found = self.opt(key, want, |v| match v {
            Value::Array(a) if elements.contains(&a.element) => Some(a),
            _ => None,
        })?;
        let Some(&Array { element, len, offset }) = found else { return Ok(None) };
        let mut c = Cursor::new(&self.bytes, offset as usize);
        // `len` was bounded by the file's length when the header was checked.
        let mut out = Vec::with_capacity(len);
        for _ in 0..len {
            out.push(read(&mut c, element)?);
        }
        Ok(Some(out))
    }

    /// An array of strings that may be missing. The strings stay in the file.
    ///
    /// # Errors
    /// [`GgufError::WrongType`].
    pub fn opt_strings(&self, key: &str) -> Result<Option<Vec<&str>>, GgufError> {
        self.array(key, "an array of strings", &[ValueType::String], |c, _| c.string(key))
    }

    /// An array of 32-bit floats that may be missing.
    ///
    /// # Errors
    /// [`GgufError::WrongType`].
    pub fn opt_f32s(&self, key: &str) -> Result<Option<Vec<f32>>, GgufError> {
        self.array(key, "an array of 32-bit floats", &[ValueType::F32], |c, _| Ok(f32::from_bits(c.u32(key)?)))
    }

    /// An array of 32-bit integers that may be missing.
    ///
    /// # Errors
    /// [`GgufError::WrongType`]; an unsigned element that leaves 31 bits.
    pub fn opt_i32s(&self, key: &str) -> Result<Option<Vec<i32>>, GgufError> {
        let kinds = [ValueType::I32, ValueType::U32];
        self.array(key, "an array of 32-bit integers", &kinds, |c, kind| {
            let offset = c.offset();
            let bits = c.u32(key)?;
            match i32::try_from(bits) {
                Ok(n) => Ok(n),
                Err(_) if kind == ValueType::I32 => Ok(bits as i32),
                Err(_) => {
                    let found = format!("an array with the element {bits}");
                    Err(GgufError::WrongType { key: key.into(), want: "integers of 31 bits", found, offset })
                }
            }
        })
    }

    /// An array of strings. The strings stay in the file.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`], [`GgufError::WrongType`].
    pub fn strings(&self, key: &str) -> Result<Vec<&str>, GgufError> {
        must(key, self.opt_strings(key)?)
    }

    /// An array of 32-bit floats.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`], [`GgufError::WrongType`].
    pub fn f32s(&self, key: &str) -> Result<Vec<f32>, GgufError> {
        must(key, self.opt_f32s(key)?)
    }

    /// An array of 32-bit integers.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`], [`GgufError::WrongType`].
    pub fn i32s(&self, key: &str) -> Result<Vec<i32>, GgufError> {
        must(key, self.opt_i32s(key)?)
    }
}

fn unsigned(value: &Value) -> Option<u64> {
    match value {
        Value::Unsigned(n) => Some(*n),
        Value::Signed(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

fn must<T>(key: &str, value: Option<T>) -> Result<T, GgufError> {
    value.ok_or_else(|| GgufError::MissingKey { key: key.into() })
}
