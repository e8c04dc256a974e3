//! Text of strangers, made fit for use.
//!
//! [`surrogates`] mends JSON that no reader takes; [`language`] knows the tag of a language by its shape; [`line`] makes a line of text fit to be stored, shown and read out, and
//! [`name`] and [`payload`] say how long that of a person's name and of what comes along with a call may be.
//!
//! Does not judge what a text means, and changes no text that is an id.

#![warn(missing_docs)]

pub mod language;
pub mod line;
pub mod name;
pub mod payload;
pub mod surrogates;
