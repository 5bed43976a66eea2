//! A weight matrix on the device: planes of its quantized blocks, split by rows where it must be.

use unspoken_kernels::{Kernel, QuantType, params};

use super::ModelError;
use crate::device::{Buffer, Device, DeviceError, Recording};
use crate::gguf::{GgmlType, GgufFile};

/// Bytes repacked at a time: bounds the memory that loading needs beyond the weights themselves.
const SLAB_BYTES: usize = 8 << 20;

/// `W [rows, cols]` of one type.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Its type.
    pub kind: QuantType,
    /// Output width.
    pub rows: usize,
    /// Input width.
    pub cols: usize,
    chunks: Vec<Chunk>,
}

/// Rows that one buffer holds.
#[derive(Clone, Debug)]
struct Chunk {
    buffer: Buffer,
    /// First of its rows, in the buffer and in the matrix.
    first: usize,
    row0: usize,
    rows: usize,
    planes: [u32; 4],
}

/// One side of a product: a buffer, words before its first value, words from row to row.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) buffer: &'a Buffer,
    pub(super) offset: usize,
    pub(super) stride: usize,
}

impl<'a> Rows<'a> {
    /// Whole rows of `stride` words from the start of a buffer.
    pub(super) fn of(buffer: &'a Buffer, stride: usize) -> Self {
        Self { buffer, offset: 0, stride }
    }
}

/// The kernels' name of a GGUF type.
pub(super) fn quant_type(kind: GgmlType) -> Option<QuantType> {
    Some(match kind {
        GgmlType::F32 => QuantType::F32,
        GgmlType::F16 => QuantType::F16,
        GgmlType::BF16 => QuantType::BF16,
        GgmlType::Q4_0 => QuantType::Q4_0,
        GgmlType::Q4_1 => QuantType::Q4_1,
        GgmlType::Q5_0 => QuantType::Q5_0,
        GgmlType::Q5_1 => QuantType::Q5_1,
        GgmlType::Q8_0 => QuantType::Q8_0,
        GgmlType::Q2_K => QuantType::Q2_K,
        GgmlType::Q3_K => QuantType::Q3_K,
        GgmlType::Q4_K => QuantType::Q4_K,
        GgmlType::Q5_K => QuantType::Q5_K,
        GgmlType::Q6_K => QuantType::Q6_K,
        GgmlType::IQ4_NL => QuantType::IQ4_NL,
        _ => return None,
    })
}

impl Matrix {
    /// Loads tensor `name`, which must be `[rows, cols]`.
    pub(super) fn load(
        device: &Device,
        file: &GgufFile,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Self, ModelError> {
        let info = file.tensor(name).ok_or_else(|| ModelError::Config(format!("tensor {name} is missing")))?;
        let expected = vec![cols as u64, rows as u64];
        if info.shape != expected {
            return Err(ModelError::Shape { tensor: name.into(), found: info.shape.clone(), expected });
        }
        let kind = quant_type(info.kind).ok_or_else(|| ModelError::UnsupportedType {
            tensor: name.into(),
            found: format!("{:?}", info.kind),
            supported: QuantType::ALL.iter().map(|q| q.name()).collect::<Vec<_>>().join(", "),
        })?;
        let layout = kind.layout();
        let blocks_per_row = kind
            .blocks(cols)
            .ok_or_else(|| ModelError::Config(format!("tensor {name}: {cols} columns don't fill blocks")))?;
        let data = file.data(info);
        let row_bytes = blocks_per_row * layout.bytes;
        if data.len() != rows * row_bytes {
            return Err(ModelError::Config(format!(
                "tensor {name}: {} bytes, expected {}",
                data.len(),
                rows * row_bytes
            )));
        }
        // Chunks and slabs of a multiple of eight rows keep every plane's pieces whole words.
        let limit_rows = (device.max_buffer_words() * 4 / (row_bytes + 64)).max(8) / 8 * 8;
        let mut chunks = Vec::new();
        for row0 in (0..rows).step_by(limit_rows) {
            let n = limit_rows.min(rows - row0);
            let planes = kind.planes(n * blocks_per_row);
            let buffer = device.alloc(planes.words)?;
            device.fill(&buffer, |put| {
                let slab_rows = (SLAB_BYTES / row_bytes).max(8) / 8 * 8;
                let mut words = Vec::new();
                for slab0 in (0..n).step_by(slab_rows) {
                    let slab = slab_rows.min(n - slab0);
                    let blocks = slab * blocks_per_row;
                    let slab_planes = kind.planes(blocks);
                    words.resize(slab_planes.words, 0);
                    kind.repack(&data[(row0 + slab0) * row_bytes..][..slab * row_bytes], &mut words);
                    for (i, field) in layout.fields.iter().enumerate() {
                        let from = slab_planes.offsets[i] as usize;
                        let to = planes.offsets[i] as usize + slab0 * blocks_per_row * field.bytes / 4;
                        let len = (blocks * field.bytes).div_ceil(4);
                        put(to, &words[from..from + len])?;
                    }
                    // The pages that were read are not needed again.
                    file.release(info);
                }
                Ok(())
            })?;
            chunks.push(Chunk { buffer, first: 0, row0, rows: n, planes: planes.offsets });
        }
        Ok(Self { kind, rows, cols, chunks })
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        let blocks = |rows: usize| self.kind.blocks(rows * self.cols).unwrap_or_default();
        self.chunks.iter().map(|c| self.kind.planes(blocks(c.rows)).words * 4).sum()
    }

    /// Some of its rows as a matrix of their own: the same memory.
    pub(super) fn view(&self, rows: std::ops::Range<usize>) -> Self {
        let chunks = self.chunks.iter().filter_map(|c| {
            let (start, end) = (rows.start.max(c.row0), rows.end.min(c.row0 + c.rows));
            (start < end).then(|| Chunk {
                first: c.first + start - c.row0,
                row0: start - rows.start,
                rows: end - start,
                ..c.clone()
            })
        });
        Self { chunks: chunks.collect(), rows: rows.len(), ..*self }
    }

    /// `out[t, :] = scale · W[ids[t], :]`.
    pub(super) fn embed(
        &self,
        rec: &mut Recording,
        n_tokens: usize,
        ids: &Buffer,
        out: &Buffer,
        scale: f32,
    ) -> Result<(), DeviceError> {
        for c in &self.chunks {
            let p = params::EmbedRows {
                n_tokens: n_tokens as u32,
                dim: self.cols as u32,
                row0: c.row0 as u32,
                rows: c.rows as u32,
                planes: c.planes,
                scale,
            };
            rec.push(Kernel::EmbedRows(self.kind), &p, &[ids, &c.buffer, out])?;
        }
        Ok(())
    }

    /// `y[t, i] (+)= x[t, :] · W[rows.start + i, :]`.
    pub(super) fn multiply(
        &self,
        rec: &mut Recording,
        n_tokens: usize,
        rows: std::ops::Range<usize>,
        x: Rows<'_>,
        y: Rows<'_>,
        accumulate: bool,
    ) -> Result<(), DeviceError> {
        self.product(rec, n_tokens, rows, x, y, accumulate, false)
    }

    /// `dx[t, :] (+)= Σᵢ dy[t, i] W[rows.start + i, :]`.
    pub(super) fn multiply_transposed(
        &self,
        rec: &mut Recording,
        n_tokens: usize,
        rows: std::ops::Range<usize>,
        dy: Rows<'_>,
        dx: Rows<'_>,
        accumulate: bool,
    ) -> Result<(), DeviceError> {
        self.product(rec, n_tokens, rows, dx, dy, accumulate, true)
    }

    fn product(
        &self,
        rec: &mut Recording,
        n_tokens: usize,
        rows: std::ops::Range<usize>,
        x: Rows<'_>,
        y: Rows<'_>,
        mut accumulate: bool,
        transposed: bool,
    ) -> Result<(), DeviceError> {
        for c in &self.chunks {
            let (start, end) = (rows.start.max(c.row0), rows.end.min(c.row0 + c.rows));
            if start >= end {
                continue;
            }
            let p = params::MatmulQ {
                n_tokens: n_tokens as u32,
                k: self.cols as u32,
                n: (end - start) as u32,
                w_row0: (c.first + start - c.row0) as u32,
                planes: c.planes,
                x_stride: x.stride as u32,
                x_offset: x.offset as u32,
                y_stride: y.stride as u32,
                y_offset: (y.offset + start - rows.start) as u32,
                accumulate: accumulate.into(),
            };
            if transposed {
                rec.push(Kernel::MatmulQT(self.kind), &p, &[y.buffer, &c.buffer, x.buffer])?;
                // Further chunks add to the same dx.
                accumulate = true;
            } else {
                rec.push(Kernel::MatmulQ(self.kind), &p, &[x.buffer, &c.buffer, y.buffer])?;
            }
        }
        Ok(())
    }
}
