//! What a key may do.

/// One right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read calls, events, transcripts.
    CallsRead,
    /// Start, advance, command and end calls.
    CallsWrite,
    /// See and drain media nodes, read metrics.
    Nodes,
    /// Manage keys. Implies every other scope.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::CallsRead, Self::CallsWrite, Self::Nodes, Self::Admin];

    /// As in settings, rows and messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::CallsRead => "calls:read",
            Self::CallsWrite => "calls:write",
            Self::Nodes => "nodes",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::CallsRead => 1,
            Self::CallsWrite => 2,
            Self::Nodes => 4,
            Self::Admin => 8,
        }
    }
}

/// Several rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Everything.
    pub const ALL: Self = Self(15);

    /// `calls:read+nodes`; `None` for anything else.
    #[must_use]
    pub fn parse(words: &str) -> Option<Self> {
        words.split('+').map(|word| Scope::ALL.into_iter().find(|scope| scope.word() == word)).collect()
    }

    /// The same back.
    #[must_use]
    pub fn words(self) -> String {
        let words = Scope::ALL.into_iter().filter(|scope| self.0 & scope.bit() != 0).map(Scope::word);
        words.collect::<Vec<_>>().join("+")
    }

    /// Those given, without what `admin` implies.
    pub fn given(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & scope.bit() != 0)
    }

    /// None at all.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether one of them is this, or implies it.
    #[must_use]
    pub const fn allow(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_there_and_back() {
        for (text, expect) in [
            ("calls:read", Some("calls:read")),
            ("nodes+calls:read", Some("calls:read+nodes")),
            ("admin", Some("admin")),
            ("nodes+nodes", Some("nodes")),
            ("", None),
            ("calls", None),
            ("calls:read+", None),
            ("CALLS:READ", None),
            ("calls:read nodes", None),
        ] {
            assert_eq!(Scopes::parse(text).map(Scopes::words).as_deref(), expect, "{text:?}");
        }
        assert_eq!(Scope::ALL.into_iter().collect::<Scopes>(), Scopes::ALL);
    }

    #[test]
    fn admin_implies_the_others_and_nothing_else_does() {
        for given in Scope::ALL {
            for wanted in Scope::ALL {
                let allowed = Scopes::from_iter([given]).allow(wanted);
                assert_eq!(allowed, given == wanted || given == Scope::Admin, "{given:?} {wanted:?}");
            }
        }
        assert!(!Scopes::default().allow(Scope::CallsRead));
    }
}
