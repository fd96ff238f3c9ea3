//! Linear equations over packets that are missing, kept in reduced row echelon form.
//!
//! Each parity packet says: the sum of such packets, with such coefficients, is this symbol. What is known is subtracted;
//! what remains is an equation over what is missing. The equations are kept so that each has a packet, its pivot, with
//! coefficient 1 that no other equation has (Gauss-Jordan elimination, one equation at a time): an equation of one term is
//! a packet recovered, as early as it can be. Peeling is what comes out where all coefficients are 1 and sums are simple.

use super::MAX_PARITY;
use super::gf256::{div, mul};
use super::symbol::Symbol;
use crate::ids::SeqNo;
use arrayvec::ArrayVec;
use std::collections::VecDeque;

/// Most packets missing in one equation. More could not come back: [`MAX_PARITY`] equations are the most that are held,
/// and twice that is room for packets that are only late.
pub(super) const MAX_TERMS: usize = 2 * MAX_PARITY;

/// A packet: the place of its stream in the decoder's list, and its number.
pub(super) type Source = (u8, SeqNo);

/// A packet that is missing.
#[derive(Clone, Copy, Debug)]
struct Term {
    source: Source,
    /// Not 0.
    coefficient: u8,
    /// Parity names it that reaches no further: it is no longer than that.
    longest: u16,
}

/// By source.
type Terms = ArrayVec<Term, MAX_TERMS>;

#[derive(Debug)]
pub(super) struct Equation {
    terms: Terms,
    pivot: Option<Source>,
    pub(super) symbol: Symbol,
}

impl Equation {
    /// 0 = 0.
    pub(super) fn empty() -> Self {
        Self { terms: Terms::new(), pivot: None, symbol: Symbol::ZERO }
    }

    /// Adds a term to the equation of a parity packet whose symbol it has. `false`, and nothing changed, where there are too
    /// many.
    pub(super) fn push(&mut self, source: Source, coefficient: u8) -> bool {
        match self.find(source) {
            Ok(_) => false,
            Err(at) => self.terms.try_insert(at, Term { source, coefficient, longest: self.symbol.len() }).is_ok(),
        }
    }

    fn find(&self, source: Source) -> Result<usize, usize> {
        self.terms.binary_search_by_key(&source, |term| term.source)
    }

    fn coefficient(&self, source: Source) -> u8 {
        self.find(source).map_or(0, |at| self.terms[at].coefficient)
    }

    /// Adds `factor` times `other`. `None` where there are too many terms: the equation is then of no use.
    fn add(&mut self, other: &Self, factor: u8) -> Option<()> {
        let mut sum = Terms::new();
        let (mut mine, mut theirs) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        loop {
            let next = match (mine.peek(), theirs.peek()) {
                (None, None) => break,
                (Some(a), Some(b)) if a.source == b.source => {
                    let coefficient = a.coefficient ^ mul(b.coefficient, factor);
                    let term = Term { coefficient, longest: a.longest.min(b.longest), ..**a };
                    mine.next();
                    theirs.next();
                    term
                }
                (Some(a), b) if b.is_none_or(|b| a.source < b.source) => {
                    let term = **a;
                    mine.next();
                    term
                }
                (_, b) => {
                    let b = b?;
                    let term = Term { coefficient: mul(b.coefficient, factor), ..**b };
                    theirs.next();
                    term
                }
            };
            if next.coefficient != 0 {
                sum.try_push(next).ok()?;
            }
        }
        self.terms = sum;
        self.symbol.add(&other.symbol, factor);
        Some(())
    }

    /// Divides by the coefficient of the first term, which becomes the pivot.
    fn choose_pivot(&mut self) {
        let Some(&Term { source: pivot, coefficient, .. }) = self.terms.first() else { return };
        let factor = div(1, coefficient);
        self.terms.iter_mut().for_each(|term| term.coefficient = mul(term.coefficient, factor));
        self.symbol.scale(factor);
        self.pivot = Some(pivot);
    }
}

/// What came of an equation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// It is kept, or has recovered something.
    Used,
    /// It says what was known.
    Redundant,
    /// It says that nothing is something: it, or one before it, was wrong.
    Contradiction,
    /// It had too many terms.
    TooLarge,
}

/// Equations, each with a pivot of its own.
#[derive(Debug, Default)]
pub(super) struct System {
    /// Oldest first.
    equations: VecDeque<Equation>,
    /// Given back, to be used again.
    spare: Vec<Equation>,
}

impl System {
    /// An equation without terms.
    pub(super) fn blank(&mut self) -> Equation {
        let mut equation = self.spare.pop().unwrap_or_else(Equation::empty);
        equation.terms.clear();
        equation.pivot = None;
        equation
    }

    pub(super) fn give_back(&mut self, equation: Equation) {
        self.spare.push(equation);
    }

    /// Adds an equation; in place of the oldest where there are [`MAX_PARITY`].
    pub(super) fn insert(&mut self, mut equation: Equation) -> Outcome {
        let outcome = self.reduce(&mut equation);
        if outcome != Outcome::Used {
            self.give_back(equation);
            return outcome;
        }
        if self.equations.len() == MAX_PARITY {
            self.spare.extend(self.equations.pop_front());
        }
        self.equations.push_back(equation);
        Outcome::Used
    }

    /// Takes the pivots of others out of `equation`, then its own out of the others.
    fn reduce(&mut self, equation: &mut Equation) -> Outcome {
        for other in &self.equations {
            let factor = other.pivot.map_or(0, |pivot| equation.coefficient(pivot));
            if factor != 0 && equation.add(other, factor).is_none() {
                return Outcome::TooLarge;
            }
        }
        equation.choose_pivot();
        let Some(pivot) = equation.pivot else {
            return if equation.symbol.is_zero() { Outcome::Redundant } else { Outcome::Contradiction };
        };
        self.remove_where(|other| {
            let factor = other.coefficient(pivot);
            factor != 0 && other.add(equation, factor).is_none()
        });
        Outcome::Used
    }

    /// A packet came that was missing: it is subtracted everywhere. Gives up equations that cannot be true, and says how many
    /// those are.
    pub(super) fn substitute(&mut self, source: Source, symbol: &Symbol) -> u64 {
        let (mut without_pivot, mut untrue) = (None, 0);
        for at in (0..self.equations.len()).rev() {
            let equation = &mut self.equations[at];
            let Ok(term) = equation.find(source) else { continue };
            let Term { coefficient, longest, .. } = equation.terms.remove(term);
            if symbol.len() > longest {
                untrue += 1;
                self.spare.extend(self.equations.remove(at));
                continue;
            }
            equation.symbol.add(symbol, coefficient);
            if equation.pivot == Some(source) {
                equation.pivot = None;
                without_pivot = self.equations.remove(at);
            }
        }
        // No other equation has its pivot's other terms as pivots: it only needs a new one.
        if let Some(equation) = without_pivot {
            self.insert(equation);
        }
        untrue
    }

    /// Takes out an equation of a single packet: its symbol is the packet's, which is no longer than what is given with it.
    pub(super) fn pop_solved(&mut self) -> Option<((Source, u16), Equation)> {
        let at = self.equations.iter().position(|equation| equation.terms.len() == 1)?;
        let equation = self.equations.remove(at)?;
        let Term { source, longest, .. } = equation.terms[0];
        Some(((source, longest), equation))
    }

    /// Gives up equations over a packet for which `is_lost` holds.
    pub(super) fn forget(&mut self, is_lost: impl Fn(Source) -> bool) {
        self.remove_where(|equation| equation.terms.iter().any(|term| is_lost(term.source)));
    }

    fn remove_where(&mut self, mut condition: impl FnMut(&mut Equation) -> bool) {
        let mut at = 0;
        while at < self.equations.len() {
            if condition(&mut self.equations[at]) {
                self.spare.extend(self.equations.remove(at));
            } else {
                at += 1;
            }
        }
    }
}
