//! Handles are numbers that look like addresses: slot and generation, odd, so that none is the address of
//! anything. A freed or made-up one is found out without touching memory, and an object that is freed during a
//! call lives until the call ends.

use std::any::Any;
use std::sync::{Arc, PoisonError, RwLock};

use unspoken::Code;

use crate::status::Failure;

type Object = Arc<dyn Any + Send + Sync>;

struct Slot {
    generation: usize,
    object: Option<Object>,
}

struct Table {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

static TABLE: RwLock<Table> = RwLock::new(Table { slots: Vec::new(), free: Vec::new() });

/// Bits of the generation; as many less one of the slot's number.
const HALF: u32 = usize::BITS / 2;

/// Keeps `object` and returns its handle.
pub(crate) fn insert<H, T: Any + Send + Sync>(object: T) -> Result<*mut H, Failure> {
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    let index = table.free.pop().unwrap_or(table.slots.len());
    if index >= 1 << (HALF - 1) {
        return Err(Failure::new(Code::OutOfMemory, "too many handles"));
    }
    if index == table.slots.len() {
        table.slots.push(Slot { generation: 1, object: None });
    }
    let slot = &mut table.slots[index];
    slot.object = Some(Arc::new(object));
    let number = (slot.generation << HALF) | (index << 1) | 1;
    Ok(std::ptr::without_provenance_mut(number))
}

/// The object of a handle.
pub(crate) fn get<H, T: Any + Send + Sync>(handle: *const H) -> Result<Arc<T>, Failure> {
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    let (index, generation) = parts(handle)?;
    let slot = table.slots.get(index).filter(|s| s.generation == generation);
    typed::<H, T>(slot.and_then(|s| s.object.clone()))
}

/// Takes the object of a handle out of the table. The object must be dropped after this call, not in it.
pub(crate) fn remove<H, T: Any + Send + Sync>(handle: *mut H) -> Result<Arc<T>, Failure> {
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    let (index, generation) = parts(handle)?;
    let slot = table.slots.get_mut(index).filter(|s| s.generation == generation).ok_or_else(bad::<H>)?;
    let object = typed::<H, T>(slot.object.clone())?;
    slot.object = None;
    slot.generation = slot.generation.wrapping_add(1) & ((1 << HALF) - 1);
    table.free.push(index);
    Ok(object)
}

fn parts<H>(handle: *const H) -> Result<(usize, usize), Failure> {
    let number = handle.addr();
    if number & 1 == 0 { Err(bad::<H>()) } else { Ok(((number & ((1 << HALF) - 1)) >> 1, number >> HALF)) }
}

fn typed<H, T: Any + Send + Sync>(object: Option<Object>) -> Result<Arc<T>, Failure> {
    object.and_then(|o| o.downcast().ok()).ok_or_else(bad::<H>)
}

fn bad<H>() -> Failure {
    let name = std::any::type_name::<H>().rsplit("::").next().unwrap_or_default();
    Failure::new(Code::BadHandle, format!("not a live handle of the type {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;
    struct Other;

    #[test]
    fn only_live_handles_of_the_right_type_are_taken() {
        let one: *mut One = insert(7u32).unwrap();
        assert_eq!(*get::<One, u32>(one).unwrap(), 7);
        assert!(get::<One, String>(one).is_err());
        assert!(get::<Other, u32>(std::ptr::null()).is_err());
        assert!(get::<One, u32>(std::ptr::without_provenance(0xffff_ffff)).is_err());
        assert!(get::<One, u32>(&raw const *Box::leak(Box::new(One))).is_err());
        let kept = remove::<One, u32>(one).unwrap();
        assert!(get::<One, u32>(one).is_err() && remove::<One, u32>(one).is_err());
        let again: *mut One = insert(8u32).unwrap();
        assert_ne!(again, one, "another generation");
        assert_eq!((*kept, *get::<One, u32>(again).unwrap()), (7, 8));
        let error = get::<One, u32>(one).unwrap_err();
        assert!(error.text.contains("One"), "{}", error.text);
    }
}
