//! Encodings with one byte for each character, as Python has them.
//!
//! The standard of the web, to which `encoding_rs` keeps, gives a meaning to bytes that have none in Python's tables, and
//! takes some ISO encodings for their Windows cousins.

use encoding_rs::Encoding as Table;

/// The upper half of the encodings of DOS.
const DOS: &[(&str, &str)] = &[
    (
        "cp437",
        "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}",
    ),
    (
        "cp850",
        "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}",
    ),
    (
        "cp852",
        "ÇüéâäůćçłëŐőîŹÄĆÉĹĺôöĽľŚśÖÜŤťŁ×čáíóúĄąŽžĘę¬źČş«»░▒▓│┤ÁÂĚŞ╣║╗╝Żż┐└┴┬├─┼Ăă╚╔╩╦╠═╬¤đĐĎËďŇÍÎě┘┌█▄ŢŮ▀ÓßÔŃńňŠšŔÚŕŰýÝţ´\u{ad}˝˛ˇ˘§÷¸°¨˙űŘř■\u{a0}",
    ),
];

/// What each byte stands for; `None` for those that stand for nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Single([Option<char>; 256]);

/// What to make of the bytes from 0x80 to 0x9f.
#[derive(Clone, Copy, PartialEq)]
enum Controls {
    /// As the table says.
    Listed,
    /// Where the table has the control character, Python has nothing.
    Undefined,
    /// They are the control characters.
    Kept,
}

impl Single {
    /// The encoding of that name in Python's lower-case spelling with underscores; `None` for any other.
    pub(crate) fn named(plain: &str) -> Option<Self> {
        if let Some((_, upper)) = DOS.iter().find(|(name, _)| *name == dos_name(plain)) {
            let mut upper = upper.chars();
            let mut single = Self(std::array::from_fn(|byte| match byte {
                0..=0x7f => char::from_u32(u32::try_from(byte).ok()?),
                _ => upper.next(),
            }));
            if plain.ends_with("858") {
                single.set(0xd5, Some('€'));
            }
            return Some(single);
        }
        let digits = plain.strip_prefix("cp").or(plain.strip_prefix("windows_")).unwrap_or(plain);
        let (label, controls) = match plain {
            "latin9" | "latin_9" => ("iso-8859-15".into(), Controls::Listed),
            "mac_roman" | "macroman" => ("macintosh".into(), Controls::Listed),
            "mac_cyrillic" | "maccyrillic" => ("x-mac-cyrillic".into(), Controls::Listed),
            "tis_620" | "tis620" | "iso8859_11" | "iso_8859_11" => ("windows-874".into(), Controls::Kept),
            "iso8859_9" | "iso_8859_9" | "latin5" | "l5" => ("windows-1254".into(), Controls::Kept),
            _ if matches!(
                digits,
                "874" | "1250" | "1251" | "1252" | "1253" | "1254" | "1255" | "1256" | "1257" | "1258"
            ) =>
            {
                (format!("windows-{digits}"), Controls::Undefined)
            }
            plain => (plain.replace('_', "-").replace("iso8859", "iso-8859"), Controls::Listed),
        };
        let table = Table::for_label(label.as_bytes()).filter(|table| {
            table.is_single_byte()
                && *table != encoding_rs::REPLACEMENT
                && *table != encoding_rs::X_USER_DEFINED
        })?;
        let mut single = Self(std::array::from_fn(|byte| {
            let byte = u8::try_from(byte).ok()?;
            let control = (0x80..=0x9f).contains(&byte);
            if control && controls == Controls::Kept {
                return Some(char::from(byte));
            }
            let bytes = [byte];
            let (text, malformed) = table.decode_without_bom_handling(&bytes);
            let c = text.chars().next().filter(|_| !malformed)?;
            (controls == Controls::Listed || c != char::from(byte) || !control).then_some(c)
        }));
        match (plain, digits) {
            ("koi8_u", _) => {
                single.set(0xae, Some('╝'));
                single.set(0xbe, Some('╬'));
            }
            ("tis_620" | "tis620", _) => single.set(0xa0, None),
            (_, "1255") => single.set(0xca, None),
            _ => {}
        }
        Some(single)
    }

    /// What the bytes stand for, and whether all of them stand for something.
    pub(crate) fn decode(&self, bytes: &[u8]) -> (String, bool) {
        let mut valid = true;
        let char = |byte: &u8| {
            let c = self.0.get(usize::from(*byte)).copied().flatten();
            valid &= c.is_some();
            c.unwrap_or(char::REPLACEMENT_CHARACTER)
        };
        let text = bytes.iter().map(char).collect();
        (text, valid)
    }

    fn set(&mut self, byte: usize, c: Option<char>) {
        if let Some(slot) = self.0.get_mut(byte) {
            *slot = c;
        }
    }
}

/// `cp437` for `ibm437` and `437`; `cp858` is `cp850` but for the euro.
fn dos_name(plain: &str) -> &str {
    match plain.trim_start_matches("cp").trim_start_matches("ibm") {
        "437" => "cp437",
        "850" | "858" => "cp850",
        "852" => "cp852",
        _ => "",
    }
}
