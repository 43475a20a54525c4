//! The names a pickle may use to some effect.

use super::{Global, Value};
use crate::weights::FileDType;

/// The allow-list. A name that is not on it is a value without meaning.
pub(super) fn known<'a>(module: &[u8], name: &[u8]) -> Value<'a> {
    let global = match (module, name) {
        (b"collections", b"OrderedDict") => Some(Global::OrderedDict),
        (b"torch", b"Size") => Some(Global::Size),
        (b"torch._utils", b"_rebuild_tensor" | b"_rebuild_tensor_v2") => Some(Global::RebuildTensor),
        (b"torch._utils", b"_rebuild_tensor_v3") => Some(Global::RebuildTensorV3),
        (b"torch._utils", b"_rebuild_parameter" | b"_rebuild_parameter_with_state") => {
            Some(Global::RebuildParameter)
        }
        (b"torch._tensor", b"_rebuild_from_type_v2") => Some(Global::RebuildFromType),
        (b"torch" | b"torch.storage" | b"torch.cuda", _) => elements(name).map(Global::Elements),
        _ => None,
    };
    global.map_or(Value::Opaque, Value::Global)
}

/// The element type of a storage class or of a dtype.
fn elements(name: &[u8]) -> Option<FileDType> {
    Some(match name {
        b"FloatStorage" | b"float32" => FileDType::F32,
        b"HalfStorage" | b"float16" => FileDType::F16,
        b"BFloat16Storage" | b"bfloat16" => FileDType::Bf16,
        b"DoubleStorage" | b"float64" => FileDType::F64,
        b"LongStorage" | b"int64" => FileDType::I64,
        b"IntStorage" | b"int32" => FileDType::I32,
        b"ShortStorage" | b"int16" => FileDType::I16,
        b"CharStorage" | b"int8" => FileDType::I8,
        b"ByteStorage" | b"uint8" | b"UntypedStorage" => FileDType::U8,
        b"BoolStorage" | b"bool" => FileDType::Bool,
        b"ComplexFloatStorage" | b"complex64" => FileDType::C64,
        _ if name.ends_with(b"Storage") => FileDType::Other,
        _ => return None,
    })
}
