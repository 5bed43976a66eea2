# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes a model with its quantized matrices in another type, to compare what types cost on the same weights.

    python requantize.py SmolLM2-135M-Instruct.Q4_1.gguf q8_0 out.gguf
"""

import sys

import gguf

source, name, target = sys.argv[1:]
kind = gguf.GGMLQuantizationType[name.upper()]
reader = gguf.GGUFReader(source)
architecture = reader.get_field(gguf.Keys.General.ARCHITECTURE).contents()
writer = gguf.GGUFWriter(target, architecture)
for key, field in reader.fields.items():
    if key.startswith("GGUF.") or key == gguf.Keys.General.ARCHITECTURE:
        continue
    sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
    writer.add_key_value(key, field.contents(), field.types[0], sub_type=sub)
for t in reader.tensors:
    values = gguf.quants.dequantize(t.data, t.tensor_type).reshape(t.shape[::-1])
    to = gguf.GGMLQuantizationType.F32 if values.ndim == 1 else kind
    writer.add_tensor(t.name, gguf.quants.quantize(values, to), raw_dtype=to)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
