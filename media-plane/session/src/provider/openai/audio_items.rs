//! Items of which audio has come and whose end has not been reported yet.

/// A response has one or two; more than this are not told apart any further.
const MAX_ITEMS: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct AudioItems(Vec<String>);

impl AudioItems {
    pub(super) fn insert(&mut self, item: &str) {
        if self.0.len() < MAX_ITEMS && !self.0.iter().any(|known| known == item) {
            self.0.push(item.to_owned());
        }
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, item: &str) -> bool {
        let position = self.0.iter().position(|known| known == item);
        position.map(|index| self.0.remove(index)).is_some()
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = String> + use<> {
        std::mem::take(&mut self.0).into_iter()
    }
}
