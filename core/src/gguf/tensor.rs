//! Descriptions of tensors, and the check of where they claim to lie.

use std::collections::HashSet;

use super::cursor::Cursor;
use super::types::{supported_names, unsupported_name};
use super::{GgmlType, GgufError};

/// Dimensions that a tensor has at most.
const MAX_DIMS: u32 = 4;
/// The fewest bytes of a description: name length, dimensions, one extent, type, offset.
pub(super) const LEAST_BYTES: u64 = 8 + 4 + 8 + 4 + 8;

/// A tensor's place, type and shape.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its shape, 1 to 4 extents in GGUF order: the row length (the contiguous dimension) first.
    pub shape: Vec<u64>,
    /// Its type.
    pub kind: GgmlType,
    /// Byte of the file where its data begin.
    pub offset: u64,
    /// Bytes of its data.
    pub bytes: u64,
}

/// Reads the `i`th description. The offset that it gives is still relative to the start of the data.
pub(super) fn read_tensor(c: &mut Cursor<'_>, i: usize) -> Result<TensorInfo, GgufError> {
    let name = c.string(&format!("name of tensor {i}"))?.to_owned();
    let field = format!("tensor {name}");
    let invalid = |offset, message| GgufError::Invalid { field: field.clone(), offset, message };
    let at_dims = c.offset();
    let dims = c.u32(&format!("dimension count of {field}"))?;
    if !(1..=MAX_DIMS).contains(&dims) {
        return Err(invalid(at_dims, format!("{dims} dimensions, expected 1 to {MAX_DIMS}")));
    }
    let at_shape = c.offset();
    let shape_field = format!("shape of {field}");
    let shape = (0..dims).map(|_| c.u64(&shape_field)).collect::<Result<Vec<u64>, _>>()?;
    let at_type = c.offset();
    let id = c.u32(&format!("type of {field}"))?;
    let Some(kind) = GgmlType::from_id(id) else {
        let (name, supported) = (unsupported_name(id), supported_names());
        return Err(GgufError::UnsupportedTensorType { tensor: field, offset: at_type, id, name, supported });
    };
    let bytes = kind.tensor_bytes(&shape).ok_or_else(|| {
        let size = kind.block_size();
        invalid(at_shape, format!("shape {shape:?} is empty, too large, or no multiple of {kind:?}'s block of {size}"))
    })?;
    let offset = c.u64(&format!("offset of {field}"))?;
    Ok(TensorInfo { name, shape, kind, offset, bytes })
}

/// Turns offsets relative to `data` (the byte where tensor data begin) into offsets in the file of `len` bytes,
/// after checking that every tensor lies inside, aligned, under its own name, and apart from all others.
/// Each tensor comes with the byte where its description begins.
pub(super) fn place(
    tensors: Vec<(u64, TensorInfo)>,
    data: u64,
    len: u64,
    alignment: u64,
) -> Result<Vec<TensorInfo>, GgufError> {
    let mut names = HashSet::with_capacity(tensors.len());
    let mut placed = Vec::with_capacity(tensors.len());
    for (at, mut t) in tensors {
        let field = format!("tensor {}", t.name);
        if !names.insert(t.name.clone()) {
            return Err(GgufError::Duplicate { field, offset: at });
        }
        if !t.offset.is_multiple_of(alignment) {
            let message = format!("offset {} is not a multiple of the alignment {alignment}", t.offset);
            return Err(GgufError::Invalid { field, offset: at, message });
        }
        let start = data.checked_add(t.offset);
        if start.and_then(|s| s.checked_add(t.bytes)).is_none_or(|end| end > len) {
            let start = start.unwrap_or(u64::MAX);
            return Err(GgufError::OutOfBounds { field, offset: at, start, bytes: t.bytes, len });
        }
        t.offset += data;
        placed.push((at, t));
    }
    let mut order: Vec<&(u64, TensorInfo)> = placed.iter().collect();
    order.sort_by_key(|(_, t)| t.offset);
    for pair in order.windows(2) {
        let [(_, before), (at, after)] = pair else { continue };
        if before.offset + before.bytes > after.offset {
            let field = format!("tensor {}", after.name);
            return Err(GgufError::Overlap { field, offset: *at, other: before.name.clone() });
        }
    }
    Ok(placed.into_iter().map(|(_, t)| t).collect())
}
