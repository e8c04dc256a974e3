//! Text of strangers, made fit for use.
//!
//! [`surrogates`] mends JSON that no reader takes, [`name`] makes a person's name fit to be stored, shown and read out.
//!
//! Does not judge what a text means, and changes no text that is an id.

#![warn(missing_docs)]

pub mod name;
pub mod surrogates;
