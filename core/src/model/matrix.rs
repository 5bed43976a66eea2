//! A weight matrix on the device: planes of its quantized blocks, split by rows where it must be.

use std::ops::Range;

use unspoken_kernels::{Along, Kernel, QuantType, params};

use super::ModelError;
use super::adapter::Site;
use crate::device::{Buffer, Device, DeviceError, Recording};
use crate::gguf::{GgmlType, GgufFile, TensorInfo};

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

/// Rows of a multiple of this keep every plane's pieces whole words.
const ROW_STEP: usize = 8;

/// A tensor on its way into a matrix.
struct Source<'a> {
    file: &'a GgufFile,
    info: &'a TensorInfo,
    kind: QuantType,
    rows: usize,
    row_bytes: usize,
}

impl<'a> Source<'a> {
    fn find(file: &'a GgufFile, name: &str, rows: usize, cols: usize) -> Result<Self, ModelError> {
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
        let blocks_per_row = kind
            .blocks(cols)
            .ok_or_else(|| ModelError::Config(format!("tensor {name}: {cols} columns don't fill blocks")))?;
        let row_bytes = blocks_per_row * kind.layout().bytes;
        let bytes = file.data(info).len();
        if bytes != rows * row_bytes {
            return Err(ModelError::Config(format!("tensor {name}: {bytes} bytes, expected {}", rows * row_bytes)));
        }
        Ok(Self { file, info, kind, rows, row_bytes })
    }

    /// Gives `put` the pieces of planes, as (plane, row counted from the range's first, words).
    fn copy(
        &self,
        rows: Range<usize>,
        blocks_per_row: usize,
        put: impl Fn(usize, usize, &[u32]) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let slab_rows = (SLAB_BYTES / self.row_bytes).max(ROW_STEP) / ROW_STEP * ROW_STEP;
        let mut words = Vec::new();
        for slab0 in rows.clone().step_by(slab_rows) {
            let slab = slab_rows.min(rows.end - slab0);
            let blocks = slab * blocks_per_row;
            let planes = self.kind.planes(blocks);
            words.resize(planes.words, 0);
            self.kind.repack(&self.file.data(self.info)[slab0 * self.row_bytes..][..slab * self.row_bytes], &mut words);
            for (i, field) in self.kind.layout().fields.iter().enumerate() {
                let from = planes.offsets[i] as usize;
                put(i, slab0 - rows.start, &words[from..from + (blocks * field.bytes).div_ceil(4)])?;
            }
            // The pages that were read are not needed again.
            self.file.release(self.info);
        }
        Ok(())
    }
}

/// Matrices that take the same input, one under the other: runs of one type are one matrix.
#[derive(Clone, Debug)]
pub struct Stack {
    parts: Vec<Matrix>,
}

impl Stack {
    /// Loads tensors `[rows, cols]`, given as (name, rows).
    pub(super) fn load(
        device: &Device,
        file: &GgufFile,
        tensors: &[(String, usize)],
        cols: usize,
    ) -> Result<Self, ModelError> {
        let find = |(name, rows): &(String, usize)| Source::find(file, name, *rows, cols);
        let sources = tensors.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let joins = |a: &Source<'_>, b: &Source<'_>| a.kind == b.kind && a.rows.is_multiple_of(ROW_STEP);
        let parts = sources.chunk_by(joins).map(|run| Matrix::join(device, run, cols)).collect::<Result<_, _>>()?;
        Ok(Self { parts })
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Matrix::bytes).sum()
    }

    /// Rows of all.
    pub(super) fn rows(&self) -> usize {
        self.parts.iter().map(|m| m.rows).sum()
    }

    /// The parts with the row that each begins at.
    fn parts(&self) -> impl Iterator<Item = (usize, &Matrix)> {
        self.parts.iter().scan(0, |row, m| {
            let at = *row;
            *row += m.rows;
            Some((at, m))
        })
    }

    /// `y[t, :] = x[t, :] · Wᵀ` for rows one after the other, with what goes along.
    pub(super) fn multiply(
        &self,
        rec: &mut Recording,
        n: usize,
        x: &Buffer,
        y: &Buffer,
        beside: Beside<'_>,
    ) -> Result<(), DeviceError> {
        let stride = self.rows();
        self.parts().try_for_each(|(offset, m)| {
            m.multiply_beside(rec, n, Rows::of(x, m.cols), Rows { buffer: y, offset, stride }, false, beside)
        })
    }

    /// `dx[t, :] = dy[t, :] · W`.
    pub(super) fn multiply_transposed(
        &self,
        rec: &mut Recording,
        n: usize,
        dy: &Buffer,
        dx: &Buffer,
    ) -> Result<(), DeviceError> {
        let stride = self.rows();
        self.parts().try_for_each(|(offset, m)| {
            let dy = Rows { buffer: dy, offset, stride };
            m.multiply_transposed(rec, n, 0..m.rows, dy, Rows::of(dx, m.cols), offset > 0)
        })
    }

    /// Where gate and up are one matrix in one buffer: `y = act(x · gateᵀ) · (x · upᵀ)` at once, with what goes along.
    /// Gives whether it did.
    pub(super) fn multiply_gated(
        &self,
        rec: &mut Recording,
        n_tokens: usize,
        kind: u32,
        x: &Buffer,
        y: &Buffer,
        beside: Beside<'_>,
    ) -> Result<bool, DeviceError> {
        let ([m], [chunk]) = (self.parts.as_slice(), self.parts[0].chunks.as_slice()) else { return Ok(false) };
        let n = m.rows as u32 / 2;
        let p = params::MatmulFew {
            n_tokens: n_tokens as u32,
            k: m.cols as u32,
            n,
            planes: chunk.planes,
            x_stride: m.cols as u32,
            y_stride: n,
            kind,
            ..Default::default()
        };
        beside.record(rec, m.kind, true, p, [x, &chunk.buffer, y])?;
        Ok(true)
    }
}

/// The weight of a norm, and what is added to the mean square.
pub(super) type Norm<'a> = Option<(&'a Buffer, f32)>;

/// What goes along with a product; with anything, of few tokens.
#[derive(Clone, Copy, Default)]
pub(super) struct Beside<'a> {
    /// Of the product's input.
    pub(super) norm: Norm<'a>,
    /// The adapter whose A x is there.
    pub(super) site: Option<&'a Site<'a>>,
}

impl Beside<'_> {
    /// Records a product of x, weights and y; `p` says nothing of what goes along yet. With nothing along there may be any
    /// number of tokens.
    pub(super) fn record(
        self,
        rec: &mut Recording,
        kind: QuantType,
        gate: bool,
        mut p: params::MatmulFew,
        [x, w, y]: [&Buffer; 3],
    ) -> Result<(), DeviceError> {
        let along = Along { norm: self.norm.is_some(), adapter: self.site.is_some(), gate };
        if !along.norm && !along.adapter {
            return match gate {
                true => rec.push(Kernel::MatmulGated(kind), &p.gated(), &[x, w, y]),
                false => rec.push(Kernel::MatmulQ(kind), &p.product(), &[x, w, y]),
            };
        }
        let mut bound = vec![x, w];
        if let Some((norm, eps)) = self.norm {
            p.eps = eps;
            bound.push(norm);
        }
        if let Some(site) = self.site {
            site.beside(&mut p);
            bound.extend([site.ax, &site.adapter.halves]);
        }
        bound.push(y);
        rec.push(Kernel::MatmulFew(kind, along), &p, &bound)
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
        Self::join(device, &[Source::find(file, name, rows, cols)?], cols)
    }

    /// The rows of tensors of one type one after the other, all but the last of a multiple of [`ROW_STEP`] rows.
    fn join(device: &Device, sources: &[Source<'_>], cols: usize) -> Result<Self, ModelError> {
        let Some(first) = sources.first() else {
            return Err(ModelError::Config("a matrix needs a tensor".into()));
        };
        let (kind, row_bytes) = (first.kind, first.row_bytes);
        let blocks_per_row = row_bytes / kind.layout().bytes;
        let rows = sources.iter().map(|s| s.rows).sum();
        let limit_rows = (device.max_buffer_words() * 4 / (row_bytes + 64)).max(ROW_STEP) / ROW_STEP * ROW_STEP;
        let mut chunks = Vec::new();
        for row0 in (0..rows).step_by(limit_rows) {
            let n = limit_rows.min(rows - row0);
            let planes = kind.planes(n * blocks_per_row);
            let buffer = device.alloc(planes.words)?;
            device.fill(&buffer, |put| {
                let mut source0 = 0;
                for source in sources {
                    let (start, end) = (row0.max(source0), (row0 + n).min(source0 + source.rows));
                    if start < end {
                        let to = start - row0;
                        source.copy(start - source0..end - source0, blocks_per_row, |plane, row, words| {
                            let at = (to + row) * blocks_per_row * kind.layout().fields[plane].bytes / 4;
                            put(planes.offsets[plane] as usize + at, words)
                        })?;
                    }
                    source0 += source.rows;
                }
                Ok(())
            })?;
            chunks.push(Chunk { buffer: device.settle(buffer)?, row0, rows: n, planes: planes.offsets });
        }
        Ok(Self { kind, rows, cols, chunks })
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        let blocks = |rows: usize| self.kind.blocks(rows * self.cols).unwrap_or_default();
        self.chunks.iter().map(|c| self.kind.planes(blocks(c.rows)).words * 4).sum()
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
        rows: Range<usize>,
        x: Rows<'_>,
        y: Rows<'_>,
        accumulate: bool,
    ) -> Result<(), DeviceError> {
        self.product(rec, n_tokens, rows, x, y, accumulate, false)
    }

    /// `y[t, i] (+)= x[t, :] · W[i, :]` with what goes along; y begins at a column of the adapter's stack.
    pub(super) fn multiply_beside(
        &self,
        rec: &mut Recording,
        n_tokens: usize,
        x: Rows<'_>,
        y: Rows<'_>,
        accumulate: bool,
        beside: Beside<'_>,
    ) -> Result<(), DeviceError> {
        for c in &self.chunks {
            let p = params::MatmulFew {
                n_tokens: n_tokens as u32,
                k: self.cols as u32,
                n: c.rows as u32,
                planes: c.planes,
                x_stride: x.stride as u32,
                x_offset: x.offset as u32,
                y_stride: y.stride as u32,
                y_offset: (y.offset + c.row0) as u32,
                accumulate: accumulate.into(),
                ..Default::default()
            };
            beside.record(rec, self.kind, false, p, [x.buffer, &c.buffer, y.buffer])?;
        }
        Ok(())
    }

    /// `dx[t, :] (+)= Σᵢ dy[t, i] W[rows.start + i, :]`.
    pub(super) fn multiply_transposed(
        &self,
        rec: &mut Recording,
        n_tokens: usize,
        rows: Range<usize>,
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
        rows: Range<usize>,
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
                w_row0: (start - c.row0) as u32,
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
