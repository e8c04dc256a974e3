//! Words of a goodbye: whether what the caller says over our farewell is one too, or nothing but an echo of ours.
//!
//! Texts are compared without case, accents and punctuation. A text is a goodbye when phrases of the table make up all of
//! it and one of them is more than a filler; one word more, and it is something else. Not a language model: what is not in
//! the table is taken for the caller's wish to go on.

/// Words looked at; nobody says goodbye in more.
const MAX_WORDS: usize = 32;
/// Words of the longest phrase.
const MAX_PHRASE_WORDS: usize = 6;

struct Phrases {
    /// Primary language tag.
    language: &'static str,
    /// Each is a goodbye, or what people say to one.
    goodbyes: &'static [&'static str],
    /// May stand beside one.
    fillers: &'static [&'static str],
}

/// In the form that [`words`] gives, of the languages there are clips in.
const PHRASES: [Phrases; 5] = [
    Phrases {
        language: "en",
        goodbyes: &[
            "bye",
            "bye bye",
            "bye now",
            "goodbye",
            "good bye",
            "cheerio",
            "ciao",
            "ok",
            "okay",
            "alright",
            "all right",
            "great",
            "perfect",
            "lovely",
            "thanks",
            "thanks a lot",
            "thanks so much",
            "many thanks",
            "thank you",
            "thank you so much",
            "thank you very much",
            "thanks again",
            "thank you again",
            "cheers",
            "you too",
            "you as well",
            "and you",
            "same to you",
            "likewise",
            "take care",
            "see you",
            "see ya",
            "see you later",
            "see you soon",
            "see you then",
            "talk to you later",
            "talk to you soon",
            "talk soon",
            "later",
            "good night",
            "good day",
            "have a good day",
            "have a nice day",
            "have a great day",
            "have a lovely day",
            "have a wonderful day",
            "have a good one",
            "have a good evening",
            "have a nice evening",
            "have a good night",
            "have a good weekend",
            "have a nice weekend",
            "have a great weekend",
            "no thanks",
            "no thank you",
            "thats all",
            "that is all",
            "thats it",
            "that was all",
            "until next time",
        ],
        fillers: &["yes", "yeah", "then", "for your help", "for the help", "for everything", "very much", "so much"],
    },
    Phrases {
        language: "pt",
        goodbyes: &[
            "tchau",
            "tchau tchau",
            "xau",
            "adeus",
            "ate logo",
            "ate mais",
            "ate breve",
            "ate amanha",
            "ate a proxima",
            "ate ja",
            "obrigado",
            "obrigada",
            "muito obrigado",
            "muito obrigada",
            "brigado",
            "brigada",
            "valeu",
            "falou",
            "bom dia",
            "boa tarde",
            "boa noite",
            "um bom dia",
            "uma boa tarde",
            "uma boa noite",
            "tenha um bom dia",
            "tenha um otimo dia",
            "tenha uma boa tarde",
            "tenha uma boa noite",
            "bom fim de semana",
            "igualmente",
            "para voce tambem",
            "pra voce tambem",
            "voce tambem",
            "abraco",
            "um abraco",
            "abracos",
            "ok",
            "okay",
            "ta bom",
            "ta certo",
            "certo",
            "beleza",
            "perfeito",
            "de nada",
            "nao obrigado",
            "nao obrigada",
            "e so isso",
            "so isso",
            "era so isso",
            "fica com deus",
            "fique com deus",
        ],
        fillers: &["sim", "entao", "ta", "por tudo", "pela ajuda", "pelo atendimento"],
    },
    Phrases {
        language: "es",
        goodbyes: &[
            "adios",
            "chao",
            "chau",
            "hasta luego",
            "hasta pronto",
            "hasta manana",
            "hasta la proxima",
            "nos vemos",
            "gracias",
            "muchas gracias",
            "mil gracias",
            "muchisimas gracias",
            "igualmente",
            "a usted",
            "a ti",
            "usted tambien",
            "tu tambien",
            "buen dia",
            "buenos dias",
            "buenas tardes",
            "buenas noches",
            "buena tarde",
            "buena noche",
            "que tenga buen dia",
            "que tenga un buen dia",
            "que tenga buena tarde",
            "que le vaya bien",
            "que te vaya bien",
            "que este bien",
            "buen fin de semana",
            "cuidese",
            "cuidate",
            "saludos",
            "ok",
            "okay",
            "vale",
            "de acuerdo",
            "perfecto",
            "muy bien",
            "listo",
            "no gracias",
            "eso es todo",
            "nada mas",
            "de nada",
        ],
        fillers: &["si", "pues", "entonces", "por todo", "por su ayuda", "por la ayuda"],
    },
    Phrases {
        language: "de",
        goodbyes: &[
            "tschuss",
            "tschau",
            "ciao",
            "ade",
            "servus",
            "auf wiedersehen",
            "wiedersehen",
            "auf wiederhoren",
            "wiederhoren",
            "bis dann",
            "bis bald",
            "bis spater",
            "bis morgen",
            "bis zum nachsten mal",
            "danke",
            "danke schon",
            "danke sehr",
            "vielen dank",
            "vielen lieben dank",
            "herzlichen dank",
            "besten dank",
            "gleichfalls",
            "ebenfalls",
            "ebenso",
            "ihnen auch",
            "dir auch",
            "schonen tag",
            "schonen tag noch",
            "einen schonen tag",
            "einen schonen tag noch",
            "schonen abend",
            "schonen abend noch",
            "einen schonen abend",
            "einen schonen abend noch",
            "schones wochenende",
            "ein schones wochenende",
            "gute nacht",
            "machs gut",
            "machen sie es gut",
            "alles klar",
            "alles gute",
            "ok",
            "okay",
            "in ordnung",
            "super",
            "prima",
            "bitte",
            "nein danke",
            "das wars",
            "das war alles",
        ],
        fillers: &["ja", "gut", "dann", "na", "na dann", "fur ihre hilfe", "fur die hilfe", "fur alles"],
    },
    Phrases {
        language: "hi",
        goodbyes: &[
            "अलविदा",
            "नमस्ते",
            "नमस्कार",
            "धन्यवाद",
            "बहुत धन्यवाद",
            "बहुत बहुत धन्यवाद",
            "शुक्रिया",
            "बहुत शुक्रिया",
            "बहुत बहुत शुक्रिया",
            "बाय",
            "बाय बाय",
            "फिर मिलेंगे",
            "ठीक है",
            "अच्छा",
            "ओके",
            "शुभ रात्रि",
            "शुभ दिन",
            "आपको भी",
            "आपका दिन शुभ हो",
            "बस इतना ही",
            "थैंक यू",
            "alvida",
            "namaste",
            "dhanyavad",
            "dhanyavaad",
            "bahut dhanyavad",
            "shukriya",
            "bahut shukriya",
            "phir milenge",
            "theek hai",
            "thik hai",
            "accha",
        ],
        fillers: &["जी", "हाँ", "हां", "जी हाँ", "जी हां", "ji", "haan"],
    },
];

/// Whether the text is a goodbye in this language (a primary tag), or in English, which is said everywhere. A language that
/// is not in the table, or empty: in any of the table.
pub(crate) fn is_goodbye(language: &str, text: &str) -> bool {
    let known = PHRASES.iter().any(|phrases| phrases.language == language);
    let tables = PHRASES.iter().filter(|phrases| !known || phrases.language == language || phrases.language == "en");
    let (mut goodbyes, mut fillers) = (Vec::new(), Vec::new());
    for phrases in tables {
        goodbyes.extend_from_slice(phrases.goodbyes);
        fillers.extend_from_slice(phrases.fillers);
    }
    let words = words(text);
    let mut rest = &words[..];
    let mut said_goodbye = false;
    while !rest.is_empty() {
        let longest = (1..=rest.len().min(MAX_PHRASE_WORDS)).rev().find_map(|length| {
            let phrase = rest[..length].join(" ");
            let goodbye = goodbyes.contains(&&*phrase);
            (goodbye || fillers.contains(&&*phrase)).then_some((length, goodbye))
        });
        let Some((length, goodbye)) = longest else { return false };
        said_goodbye |= goodbye;
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
    fn phrases_are_in_the_form_they_are_compared_in() {
        for phrase in PHRASES.iter().flat_map(|phrases| phrases.goodbyes.iter().chain(phrases.fillers)) {
            assert_eq!(words(phrase).join(" "), **phrase);
            assert!(words(phrase).len() <= MAX_PHRASE_WORDS, "{phrase}");
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
