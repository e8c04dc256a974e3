//! Where each piece of a text in the making stands in the text of its item, so that a piece that gets lost on its way
//! leaves a gap and shifts nothing.

use std::collections::VecDeque;

/// See the module. Of more items than `max_items` the oldest are forgotten.
#[derive(Debug)]
pub(crate) struct Pieces {
    items: VecDeque<(String, u64)>,
    max_items: usize,
}

impl Pieces {
    pub(crate) const fn new(max_items: usize) -> Self {
        Self { items: VecDeque::new(), max_items }
    }

    /// A piece comes: how many Unicode code points of its item came before.
    pub(crate) fn add(&mut self, item: &str, piece: &str) -> u64 {
        let length = piece.chars().count() as u64;
        // The newest is the one that grows.
        if let Some((_, known)) = self.items.iter_mut().rev().find(|(known, _)| known == item) {
            let offset = *known;
            *known += length;
            return offset;
        }
        if self.items.len() >= self.max_items.max(1) {
            self.items.pop_front();
        }
        self.items.push_back((item.to_owned(), length));
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_counted_by_itself_in_code_points() {
        let mut pieces = Pieces::new(2);
        assert_eq!(pieces.add("a", "Ol\u{e1} "), 0);
        assert_eq!(pieces.add("b", "x"), 0);
        assert_eq!(pieces.add("a", "\u{1f338}!"), 4, "not bytes");
        assert_eq!(pieces.add("a", ""), 6);
        assert_eq!(pieces.add("c", "y"), 0);
        assert_eq!(pieces.add("b", "y"), 1);
        assert_eq!(pieces.add("a", "z"), 0, "forgotten");
    }
}
