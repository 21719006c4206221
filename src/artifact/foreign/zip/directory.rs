//! The directory of a zip file, and the headers it points at (PKWARE's APPNOTE 6.3).

use std::collections::BTreeMap;

use super::{Fault, MAX_MEMBERS, Member};

/// Content that is not compressed.
pub(super) const STORED: u16 = 0;
/// End of the directory.
const END: &[u8] = b"PK\x05\x06";
/// Length of the end record without its comment.
const END_BYTES: usize = 22;
/// Points at the 64-bit end record.
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_BYTES: usize = 20;
/// End of the directory in 64 bits.
const END64: &[u8] = b"PK\x06\x06";
/// Length of its fixed part.
const END64_BYTES: usize = 56;
/// An entry of the directory, and its length without name, extra fields and comment.
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
/// A member's header, and its length without name and extra fields.
const HEADER: &[u8] = super::MAGIC;
const HEADER_BYTES: usize = 30;
/// What may follow a member whose header did not know its sizes.
const DESCRIPTOR: &[u8] = b"PK\x07\x08";
/// Flags that change nothing about the content: two bits of compression effort, sizes behind the content, UTF-8 names.
const HARMLESS_FLAGS: u16 = 0x0002 | 0x0004 | SIZES_FOLLOW | 0x0800;
/// The sizes and the checksum stand behind the content.
const SIZES_FOLLOW: u16 = 0x0008;
/// Extra field with 64-bit sizes.
const EXTRA_64: u16 = 0x0001;
/// Extra field with another name, which some readers prefer.
const EXTRA_NAME: u16 = 0x7075;

fn ambiguous<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Ambiguous(what.into()))
}

fn damaged(what: &str) -> Fault {
    Fault::Damaged(format!("broken zip directory: {what}"))
}

/// A little-endian number of `N` bytes at an offset.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<u64, Fault> {
    let field = at.checked_add(N).and_then(|end| bytes.get(at..end)).ok_or_else(|| damaged("cut short"))?;
    Ok(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

fn offset(value: u64) -> Result<usize, Fault> {
    usize::try_from(value).map_err(|_| damaged("an offset beyond memory"))
}

fn slice(bytes: &[u8], start: usize, length: usize) -> Result<&[u8], Fault> {
    start.checked_add(length).and_then(|end| bytes.get(start..end)).ok_or_else(|| damaged("cut short"))
}

/// Where the directory lies, and how many entries it has.
struct End {
    start: usize,
    size: usize,
    entries: u64,
    /// Offset of the first end record.
    at: usize,
}

/// Members in directory order, and the number of bytes that belong to nothing.
pub(super) fn read(bytes: &[u8]) -> Result<(Vec<Member>, u64), Fault> {
    if !bytes.starts_with(HEADER) {
        return Err(damaged("no member at the start"));
    }
    let end = end(bytes)?;
    if end.entries > MAX_MEMBERS as u64 {
        return Err(Fault::Damaged(format!("{} members; at most {MAX_MEMBERS} are read", end.entries)));
    }
    if end.start.checked_add(end.size) != Some(end.at) {
        return ambiguous("the directory does not end where its end record begins, so readers look in two places");
    }
    let mut members = Vec::new();
    // Where each member ends: its content and the sizes that may follow.
    let mut spans = Vec::new();
    let mut at = end.start;
    for _ in 0..end.entries {
        let entry = Entry::read(bytes, at)?;
        at += entry.length;
        let (member, header_at) = entry.member(bytes, end.start)?;
        let after = if entry.flags & SIZES_FOLLOW != 0 { descriptor(bytes, &member, end.start)? } else { 0 };
        spans.push((header_at, member.range.end + after, members.len()));
        members.push(member);
    }
    if at != end.at {
        return ambiguous("the directory has more bytes than entries");
    }
    names_differ(&members)?;
    spans.sort_unstable();
    let mut unclaimed = 0;
    let mut last = (0, 0);
    for (start, stop, index) in spans {
        let (before, previous) = last;
        if start < before {
            let name = |i: usize| members.get(i).map_or("", |member: &Member| &*member.name);
            return ambiguous(format!("members `{}` and `{}` overlap", name(previous), name(index)));
        }
        unclaimed += loose(bytes, before, start)?;
        last = (stop, index);
    }
    unclaimed += loose(bytes, last.0, end.start)?;
    Ok((members, unclaimed))
}

/// How many bytes lie between two members, which may be anything but another directory.
fn loose(bytes: &[u8], from: usize, to: usize) -> Result<u64, Fault> {
    let between = bytes.get(from..to).unwrap_or(&[]);
    if between.windows(END.len()).any(|window| window == END || window == ENTRY) {
        return ambiguous("it has two directories, so readers see two archives");
    }
    Ok(between.len() as u64)
}

/// How many bytes stand in front of a zip file that ends where `tail` does; `None` if none does, or it begins at the
/// first byte. `before` bytes of the file stand in front of the tail.
///
/// Python's zipfile and others look for the end, and take what is in front of the first member for a program that
/// unpacks it: a picture, a log or a script can be such a file at the same time.
pub(in crate::artifact) fn bytes_before(tail: &[u8], before: u64) -> Option<u64> {
    let lowest = tail.len().saturating_sub(END_BYTES + usize::from(u16::MAX));
    let found = tail.get(lowest..)?.windows(END.len()).rposition(|window| window == END)?;
    let at = lowest + found;
    let field = |offset| number::<4>(tail, at + offset).ok();
    let comment = number::<2>(tail, at + 20).ok()?;
    let behind = (tail.len() - at).checked_sub(END_BYTES)? as u64;
    let (size, start) = (field(12)?, field(16)?);
    let prefix = (before + at as u64).checked_sub(size)?.checked_sub(start)?;
    (comment <= behind && size >= ENTRY_BYTES as u64 && prefix > 0).then_some(prefix)
}

/// Finds the one end record, and the 64-bit one in front of it.
fn end(bytes: &[u8]) -> Result<End, Fault> {
    let lowest = bytes.len().saturating_sub(END_BYTES + usize::from(u16::MAX));
    let tail = bytes.get(lowest..).unwrap_or(&[]);
    let found = tail.windows(END.len()).enumerate().filter(|(_, window)| *window == END).map(|(i, _)| lowest + i);
    let is_whole = |&at: &usize| at + END_BYTES <= bytes.len();
    // Readers take the last; one that is cut short is none.
    let at = found.clone().rfind(is_whole).ok_or_else(|| damaged("no end record"))?;
    let comment = number::<2>(bytes, at + 20)? as usize;
    let behind = bytes.len() - at - END_BYTES;
    if comment > behind {
        return Err(damaged("its comment is cut short"));
    }
    if comment < behind {
        return ambiguous(format!("{} bytes behind the end of the zip file", behind - comment));
    }
    for field in [4, 6] {
        if number::<2>(bytes, at + field)? != 0 {
            return ambiguous("it says that it is one of several disks");
        }
    }
    let (here, entries) = (number::<2>(bytes, at + 8)?, number::<2>(bytes, at + 10)?);
    if here != entries {
        return ambiguous("its end record names two numbers of members");
    }
    let (size, start) = (number::<4>(bytes, at + 12)?, number::<4>(bytes, at + 16)?);
    let small = End { start: offset(start)?, size: offset(size)?, entries, at };
    let end = end64(bytes, small)?;
    // A second end record in front: some readers search forwards, or from the end but only so far.
    let second = found.into_iter().find(|&other| other != at && other >= end.start && is_whole(&other));
    if second.is_some() {
        return ambiguous("it has two end records, so readers see two archives");
    }
    Ok(end)
}

/// The end record in 64 bits, which must say the same where the short one says anything.
fn end64(bytes: &[u8], small: End) -> Result<End, Fault> {
    let overflows = small.entries == 0xffff || small.size == 0xffff_ffff || small.start == 0xffff_ffff;
    let locator = small.at.checked_sub(LOCATOR_BYTES).filter(|&at| bytes.get(at..at + 4) == Some(LOCATOR));
    let Some(locator) = locator else {
        return if overflows { Err(damaged("no 64-bit end record")) } else { Ok(small) };
    };
    let at = offset(number::<8>(bytes, locator + 8)?)?;
    if bytes.get(at..).is_none_or(|rest| !rest.starts_with(END64)) {
        return ambiguous("its locator points at no 64-bit end record");
    }
    let length = number::<8>(bytes, at + 4)?;
    if offset(length)?.checked_add(at + 12) != Some(locator) || length < (END64_BYTES - 12) as u64 {
        return ambiguous("its 64-bit end record does not end where its locator begins");
    }
    let (here, entries) = (number::<8>(bytes, at + 24)?, number::<8>(bytes, at + 32)?);
    let (size, start) = (offset(number::<8>(bytes, at + 40)?)?, offset(number::<8>(bytes, at + 48)?)?);
    let agrees = |short: u64, long: u64, none: u64| short == long || short == none;
    let same = here == entries
        && agrees(small.entries, entries, 0xffff)
        && agrees(small.size as u64, size as u64, 0xffff_ffff)
        && agrees(small.start as u64, start as u64, 0xffff_ffff);
    if !same || number::<8>(bytes, at + 16)? != 0 {
        return ambiguous("its two end records contradict each other");
    }
    Ok(End { start, size, entries, at })
}

/// An entry of the directory.
struct Entry<'a> {
    flags: u16,
    method: u16,
    crc: u32,
    compressed: u64,
    size: u64,
    header: u64,
    name: &'a [u8],
    /// Bytes of the entry.
    length: usize,
}

impl<'a> Entry<'a> {
    fn read(bytes: &'a [u8], at: usize) -> Result<Self, Fault> {
        if slice(bytes, at, ENTRY_BYTES)?.get(..4) != Some(ENTRY) {
            return Err(damaged("an entry without its mark"));
        }
        let [name, extra, comment] = [28, 30, 32].map(|field| number::<2>(bytes, at + field));
        let (name, extra, comment) = (name? as usize, extra? as usize, comment? as usize);
        let fields = slice(bytes, at + ENTRY_BYTES + name, extra)?;
        let mut entry = Entry {
            flags: number::<2>(bytes, at + 8)? as u16,
            method: number::<2>(bytes, at + 10)? as u16,
            crc: number::<4>(bytes, at + 16)? as u32,
            compressed: number::<4>(bytes, at + 20)?,
            size: number::<4>(bytes, at + 24)?,
            header: number::<4>(bytes, at + 42)?,
            name: slice(bytes, at + ENTRY_BYTES, name)?,
            length: ENTRY_BYTES + name + extra + comment,
        };
        slice(bytes, at, entry.length)?;
        if number::<2>(bytes, at + 34)? != 0 {
            return ambiguous(format!("member `{}` lies on another disk", entry.shown()));
        }
        let wide = [&mut entry.size, &mut entry.compressed, &mut entry.header];
        widen(fields, entry.name, wide)?;
        Ok(entry)
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(self.name).into_owned()
    }

    /// The member and the offset of its header, which must repeat this entry.
    fn member(&self, bytes: &[u8], directory: usize) -> Result<(Member, usize), Fault> {
        let shown = self.shown();
        if self.flags & !HARMLESS_FLAGS != 0 {
            return ambiguous(format!(
                "member `{shown}` has flag bits {:#06x}: encrypted or odd, and not every reader minds",
                self.flags
            ));
        }
        if self.name.iter().any(|byte| matches!(byte, 0 | b'\\')) {
            return ambiguous(format!("the name of member `{}` is read in two ways", shown.escape_debug()));
        }
        let at = offset(self.header)?;
        if at.checked_add(HEADER_BYTES).is_none_or(|end| end > directory) || !bytes[at..].starts_with(HEADER) {
            return Err(damaged(&format!("no header of member `{shown}`")));
        }
        let (name, extra) = (number::<2>(bytes, at + 26)? as usize, number::<2>(bytes, at + 28)? as usize);
        let start = at + HEADER_BYTES + name + extra;
        let contradicts =
            |what: &str| ambiguous(format!("the header of member `{shown}` contradicts the directory: another {what}"));
        if slice(bytes, at + HEADER_BYTES, name)? != self.name {
            return contradicts("name");
        }
        if number::<2>(bytes, at + 6)? as u16 != self.flags {
            return contradicts("flag");
        }
        if number::<2>(bytes, at + 8)? as u16 != self.method {
            return contradicts("compression");
        }
        let fields = slice(bytes, at + HEADER_BYTES + name, extra)?;
        let crc = number::<4>(bytes, at + 14)? as u32;
        let (mut compressed, mut size) = (number::<4>(bytes, at + 18)?, number::<4>(bytes, at + 22)?);
        let mut none = 0;
        widen(fields, self.name, [&mut size, &mut compressed, &mut none])?;
        let later = self.flags & SIZES_FOLLOW != 0;
        let same = |own: u64, listed: u64| own == listed || (later && (own == 0 || own == 0xffff_ffff));
        if !same(u64::from(crc), u64::from(self.crc)) {
            return contradicts("checksum");
        }
        if !same(compressed, self.compressed) || !same(size, self.size) {
            return contradicts("size");
        }
        let end = start.checked_add(offset(self.compressed)?).filter(|&end| end <= directory);
        let end = end.ok_or_else(|| damaged(&format!("member `{shown}` reaches past the end of the file")))?;
        if self.method == STORED && self.compressed != self.size {
            return ambiguous(format!("member `{shown}` is stored in another number of bytes than it holds"));
        }
        let member = Member { name: shown, range: start..end, method: self.method, size: self.size, crc: self.crc };
        Ok((member, at))
    }
}

/// Replaces sizes of 32 bits that say "see the extra field", in the order in which that field holds them.
fn widen(fields: &[u8], name: &[u8], values: [&mut u64; 3]) -> Result<(), Fault> {
    let mut at = 0;
    let mut wide = None;
    while at + 4 <= fields.len() {
        let (id, length) = (number::<2>(fields, at)? as u16, number::<2>(fields, at + 2)? as usize);
        // Padding that is no field: PyTorch's writer and others align with it.
        let Some(content) = fields.get(at + 4..at + 4 + length) else { break };
        if id == EXTRA_64 && wide.replace(content).is_some() {
            return ambiguous("a member with its 64-bit sizes twice");
        }
        if id == EXTRA_NAME && content.get(5..).is_some_and(|other| other != name) {
            return ambiguous(format!("member `{}` has a second name", String::from_utf8_lossy(name)));
        }
        at += 4 + length;
    }
    let mut taken = 0;
    for value in values {
        if *value == 0xffff_ffff
            && let Some(wide) = wide
            && wide.len() >= taken + 8
        {
            *value = number::<8>(wide, taken)?;
            taken += 8;
        }
    }
    Ok(())
}

/// Bytes of the checksum and sizes behind a member, which must be those of the directory.
fn descriptor(bytes: &[u8], member: &Member, directory: usize) -> Result<usize, Fault> {
    let rest = bytes.get(member.range.end..directory).unwrap_or(&[]);
    let (marked, mark) = if rest.starts_with(DESCRIPTOR) { (&rest[4..], 4) } else { (rest, 0) };
    let held = (member.range.end - member.range.start) as u64;
    let agrees = |width: usize| -> Result<bool, Fault> {
        let read = |at| if width == 8 { number::<8>(marked, at) } else { number::<4>(marked, at) };
        Ok(marked.len() >= 4 + 2 * width
            && number::<4>(marked, 0)? == u64::from(member.crc)
            && read(4)? == held
            && read(4 + width)? == member.size)
    };
    for width in [8, 4] {
        if agrees(width)? {
            return Ok(mark + 4 + 2 * width);
        }
    }
    ambiguous(format!("the sizes behind member `{}` contradict the directory", member.name))
}

/// PyTorch looks names up ignoring case, others do not; of equal ones some take the first and some the last.
fn names_differ(members: &[Member]) -> Result<(), Fault> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for member in members {
        if let Some(other) = seen.insert(member.name.to_lowercase(), &member.name) {
            return if other == member.name {
                ambiguous(format!("two members are called `{other}`, and readers differ in which they take"))
            } else {
                ambiguous(format!("members `{other}` and `{}` have names that differ in case only", member.name))
            };
        }
    }
    Ok(())
}
