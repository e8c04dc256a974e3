//! Output: colours on a terminal, plain text elsewhere (anstream strips them, honouring NO_COLOR).

use std::io::{self, Write as _};

use anstyle::{AnsiColor, Style};

pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const TITLE: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const CALLER: Style = AnsiColor::Cyan.on_default();
pub(crate) const AGENT: Style = AnsiColor::Magenta.on_default();

/// Writes a line to standard output. A reader that has gone is an error the caller passes up, not a panic.
pub(crate) fn outln(line: &str) -> io::Result<()> {
    writeln!(anstream::stdout().lock(), "{line}")
}

/// Writes a line to standard error; there is nobody left to tell when that fails.
pub(crate) fn errln(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// Text from outside, for a terminal: control characters (escape sequences among them) become visible.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(clean("Ana\u{1b}[2J \n ñ"), "Ana\u{fffd}[2J \u{fffd} ñ");
    }
}
