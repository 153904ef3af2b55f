//! Values that each shard has one of, by their type; for state that is a shard's rather than a structure's.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The values of one shard.
#[derive(Default)]
pub(super) struct Slots(RefCell<BTreeMap<TypeId, Rc<dyn Any>>>);

impl Slots {
    /// The value of type `T`, made when it is first asked for.
    pub(super) fn get<T: Default + 'static>(&self) -> Rc<T> {
        let known = self.0.borrow().get(&TypeId::of::<T>()).cloned();
        let value = known.unwrap_or_else(|| {
            let made: Rc<dyn Any> = Rc::new(T::default());
            self.0.borrow_mut().insert(TypeId::of::<T>(), Rc::clone(&made));
            made
        });
        value.downcast().expect("a value stands under its own type")
    }

    /// Forgets every value; for the end of a shard.
    pub(super) fn clear(&self) {
        let all = self.0.take();
        drop(all);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn each_type_has_one_value_until_all_are_forgotten() {
        let slots = Slots::default();
        slots.get::<Cell<u8>>().set(7);
        slots.get::<Cell<u16>>().set(8);
        assert_eq!((slots.get::<Cell<u8>>().get(), slots.get::<Cell<u16>>().get()), (7, 8));
        slots.clear();
        assert_eq!(slots.get::<Cell<u8>>().get(), 0);
    }
}
