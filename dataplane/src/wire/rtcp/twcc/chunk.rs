//! Status chunks (sections 3.1.2 to 3.1.4): 16 bits that say of several packets whether they came
//! and how long their delta is.

/// What a status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbol {
    /// Did not come; no delta.
    Lost,
    /// Came; the delta is one unsigned byte.
    Small,
    /// Came; the delta is two signed bytes.
    Large,
}

impl Symbol {
    /// Symbol 3 is reserved.
    fn from_bits(bits: u16) -> Option<Self> {
        match bits {
            0 => Some(Self::Lost),
            1 => Some(Self::Small),
            2 => Some(Self::Large),
            _ => None,
        }
    }

    fn bits(self) -> u16 {
        match self {
            Self::Lost => 0,
            Self::Small => 1,
            Self::Large => 2,
        }
    }

    /// The symbol of a packet with this delta.
    pub(super) fn of(delta: Option<i16>) -> Self {
        match delta {
            None => Self::Lost,
            Some(0..=255) => Self::Small,
            Some(_) => Self::Large,
        }
    }

    /// Bytes of its delta.
    pub(super) fn delta_len(self) -> usize {
        match self {
            Self::Lost => 0,
            Self::Small => 1,
            Self::Large => 2,
        }
    }
}

/// Set: a vector of symbols. Clear: a run of one.
const VECTOR: u16 = 1 << 15;
/// In a vector: symbols of two bits, else of one.
const WIDE: u16 = 1 << 14;
const RUN_SYMBOL_SHIFT: u32 = 13;

/// Longest run of one chunk.
pub(super) const RUN_MAX: usize = (1 << RUN_SYMBOL_SHIFT) - 1;
/// Symbols in a vector of one-bit symbols.
pub(super) const NARROW_LEN: usize = 14;
/// Symbols in a vector of two-bit symbols.
pub(super) const WIDE_LEN: usize = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk(pub(super) u16);

impl Chunk {
    /// A run of `len` equal symbols, at most [`RUN_MAX`].
    pub(super) fn run(symbol: Symbol, len: usize) -> Self {
        debug_assert!(len <= RUN_MAX);
        Self(symbol.bits() << RUN_SYMBOL_SHIFT | len as u16)
    }

    /// At most [`NARROW_LEN`] symbols, none of them [`Symbol::Large`].
    pub(super) fn narrow(symbols: impl Iterator<Item = Symbol>) -> Self {
        symbols
            .zip((0..NARROW_LEN as u32).rev())
            .fold(Self(VECTOR), |chunk, (symbol, shift)| {
                Self(chunk.0 | symbol.bits() << shift)
            })
    }

    /// At most [`WIDE_LEN`] symbols.
    pub(super) fn wide(symbols: impl Iterator<Item = Symbol>) -> Self {
        symbols
            .zip((0..WIDE_LEN as u32).rev())
            .fold(Self(VECTOR | WIDE), |chunk, (symbol, shift)| {
                Self(chunk.0 | symbol.bits() << (2 * shift))
            })
    }

    /// How many statuses it has room for; the message's status count may use fewer.
    pub(super) fn len(self) -> usize {
        match (self.0 & VECTOR, self.0 & WIDE) {
            (0, _) => usize::from(self.0) & RUN_MAX,
            (_, 0) => NARROW_LEN,
            _ => WIDE_LEN,
        }
    }

    /// Its symbol at `index`; `None` when it is the reserved one or `index` is not below the length.
    pub(super) fn symbol(self, index: usize) -> Option<Symbol> {
        if index >= self.len() {
            return None;
        }
        match (self.0 & VECTOR, self.0 & WIDE) {
            (0, _) => Symbol::from_bits(self.0 >> RUN_SYMBOL_SHIFT),
            (_, 0) => Symbol::from_bits(self.0 >> (NARROW_LEN - 1 - index) & 1),
            _ => Symbol::from_bits(self.0 >> (2 * (WIDE_LEN - 1 - index)) & 3),
        }
    }

    /// Bytes of delta of its first `len` statuses, at most its length; `None` when one is reserved.
    pub(super) fn delta_len(self, len: usize) -> Option<usize> {
        if self.0 & VECTOR == 0 {
            let symbol = Symbol::from_bits(self.0 >> RUN_SYMBOL_SHIFT)?;
            return Some(symbol.delta_len() * len);
        }
        (0..len).try_fold(0, |sum, index| Some(sum + self.symbol(index)?.delta_len()))
    }
}
