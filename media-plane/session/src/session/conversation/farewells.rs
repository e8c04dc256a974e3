//! Words of a goodbye: whether what the caller says over our farewell is one too, or nothing but an echo of ours.
//!
//! Texts are compared without case, accents and punctuation. A text is a goodbye when phrases of the table make up all of
//! it and one of them is more than a filler; one word more, and it is something else. Not a language model: what is not in
//! the table is taken for the caller's wish to go on.

/// Words looked at; nobody says goodbye in more.
const MAX_WORDS: usize = 32;
/// Words of the longest phrase.
const MAX_PHRASE_WORDS: usize = 6;

/// Columns: language (a primary tag), `goodbye` or `filler`, phrase in the form that [`words`] gives. Of the languages there
/// are clips in. A goodbye is one, or what people say to one; a filler may stand beside it.
const TABLE: &str = include_str!("../../../assets/goodbyes.tsv");

struct Phrase {
    language: &'static str,
    is_goodbye: bool,
    words: &'static str,
}

fn phrases() -> impl Iterator<Item = Phrase> {
    TABLE.lines().skip(1).filter_map(|line| {
        let mut columns = line.split('\t');
        let (language, kind, words) = (columns.next()?, columns.next()?, columns.next()?);
        Some(Phrase { language, is_goodbye: kind == "goodbye", words })
    })
}

/// Whether the text is a goodbye in this language (a primary tag), or in English, which is said everywhere. A language that
/// is not in the table, or empty: in any of the table.
pub(crate) fn is_goodbye(language: &str, text: &str) -> bool {
    let known = phrases().any(|phrase| phrase.language == language);
    let said_here = |phrase: &Phrase| !known || phrase.language == language || phrase.language == "en";
    let table: Vec<Phrase> = phrases().filter(said_here).collect();
    let words = words(text);
    let mut rest = &words[..];
    let mut said_goodbye = false;
    while !rest.is_empty() {
        let longest = (1..=rest.len().min(MAX_PHRASE_WORDS)).rev().find_map(|length| {
            let said = rest[..length].join(" ");
            let found = table.iter().find(|phrase| phrase.words == said)?;
            Some((length, found.is_goodbye))
        });
        let Some((length, is_goodbye)) = longest else { return false };
        said_goodbye |= is_goodbye;
        rest = &rest[length..];
    }
    said_goodbye && words.len() <= MAX_WORDS
}

/// Whether the text is a part of what we said ourselves.
pub(crate) fn is_echo(text: &str, said: &str) -> bool {
    let (echo, said) = (words(text), words(said));
    !echo.is_empty() && said.windows(echo.len()).any(|part| part == echo)
}

/// Whether there is nothing to read in the text: no word, or a note of the transcriber in brackets.
pub(crate) fn is_a_note(text: &str) -> bool {
    let text = text.trim();
    [('[', ']'), ('(', ')')].iter().any(|&(open, close)| {
        text.starts_with(open) && text.find(close).is_some_and(|end| end + close.len_utf8() == text.len())
    })
}

/// The words, without case, accents of Latin letters and punctuation.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in text.chars().flat_map(char::to_lowercase) {
        let word = words.last_mut().expect("there is always a word");
        match letter {
            '\'' | '\u{2019}' => {}
            'ß' => word.push_str("ss"),
            // Vowel signs of Devanagari are marks, not letters; the two bars end sentences.
            '\u{0900}'..='\u{0963}' | '\u{0966}'..='\u{097f}' => word.push(letter),
            _ if letter.is_alphanumeric() => word.push(without_accent(letter)),
            _ if word.is_empty() => {}
            _ => words.push(String::new()),
        }
        if words.len() > MAX_WORDS * 8 {
            break;
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

const fn without_accent(letter: char) -> char {
    match letter {
        'á' | 'à' | 'â' | 'ã' | 'ä' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'í' | 'ì' | 'î' | 'ï' => 'i',
        'ó' | 'ò' | 'ô' | 'õ' | 'ö' => 'o',
        'ú' | 'ù' | 'û' | 'ü' => 'u',
        'ç' => 'c',
        'ñ' => 'n',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::embedded::clips;

    #[test]
    fn goodbyes_are_told_from_everything_else() {
        let check = |language: &str, text: &str, expected: bool| {
            assert_eq!(is_goodbye(language, text), expected, "{language}: {text}");
        };
        for (language, text) in [
            ("en", "Bye!"),
            ("en", "Okay, thank you so much. You too, have a nice day! Bye-bye."),
            ("en", "That's all, thanks."),
            ("pt", "Tá bom, então. Muito obrigada, até logo!"),
            ("pt", "Bye bye"),
            ("es", "Adiós, muchas gracias por todo."),
            ("de", "Ja, danke, gleichfalls. Tschüß!"),
            ("de", "Na dann: einen schönen Tag noch, auf Wiederhören."),
            ("hi", "जी, बहुत बहुत धन्यवाद।"),
            ("hi", "Theek hai, bye."),
            ("", "Tschau"),
            ("fi", "Thank you."),
        ] {
            check(language, text, true);
        }
        for (language, text) in [
            ("en", "Bye, oh wait!"),
            ("en", "Thanks, and when do you open?"),
            ("en", "No."),
            ("en", "yes"),
            ("en", ""),
            ("pt", "Obrigado, mas e o meu pedido?"),
            ("es", "Gracias, una pregunta más"),
            ("de", "Danke, aber ich habe noch eine Frage."),
            ("de", "adiós"),
            ("hi", "धन्यवाद, एक और सवाल है"),
        ] {
            check(language, text, false);
        }
        check("en", &"bye ".repeat(MAX_WORDS), true);
        check("en", &"bye ".repeat(MAX_WORDS + 1), false);
    }

    #[test]
    fn phrases_are_in_the_form_they_are_compared_in_and_of_every_language_with_clips() {
        for phrase in phrases() {
            assert_eq!(words(phrase.words).join(" "), phrase.words);
            assert!(words(phrase.words).len() <= MAX_PHRASE_WORDS, "{}", phrase.words);
        }
        assert_eq!(phrases().count() + 1, TABLE.lines().count(), "every line is read");
        for language in clips::languages() {
            let of_it =
                |is_goodbye| phrases().filter(|it| it.language == language && it.is_goodbye == is_goodbye).count();
            assert!(of_it(true) > 20 && of_it(false) > 4, "{language}");
        }
    }

    #[test]
    fn an_echo_is_a_part_of_what_was_said() {
        let said = "Thank you for calling. Goodbye, and all the best!";
        for (text, expected) in
            [("for calling", true), ("Goodbye and all", true), ("calling for", false), ("good", false), ("", false)]
        {
            assert_eq!(is_echo(text, said), expected, "{text}");
        }
        assert!(!is_echo("anything", ""));
    }

    #[test]
    fn notes_of_a_transcriber_are_no_words() {
        for (text, expected) in
            [("[speech 2.4 s]", true), ("(music)", true), ("[a] b [c]", false), ("bye", false), ("", false)]
        {
            assert_eq!(is_a_note(text), expected, "{text}");
        }
    }
}
