//! Zip files written here byte by byte, each with one thing in it that readers take differently.

use std::io::{Cursor, Write};

use super::*;

/// A member as the directory and its own header say it is; they agree unless a test changes one.
#[derive(Clone)]
pub struct Part {
    pub name: Vec<u8>,
    pub content: Vec<u8>,
    local: Option<Vec<u8>>,
    flags: u16,
    crc: Option<u32>,
    extra: Vec<u8>,
}

impl Part {
    pub fn new(name: &str, content: &[u8]) -> Self {
        let (name, content) = (name.into(), content.to_vec());
        Part { name, content, local: None, flags: 0, crc: None, extra: Vec::new() }
    }
}

/// An archive of stored members whose first byte lies at `base`.
fn archive_at(parts: &[Part], base: usize, comment: &[u8]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for part in parts {
        let mut sum = flate2::Crc::new();
        sum.update(&part.content);
        let at = (base + out.len()) as u32;
        let length = (part.content.len() as u32).to_le_bytes();
        let fields = |name: &[u8], crc: u32, extra: &[u8]| {
            [
                &part.flags.to_le_bytes()[..],
                &[0; 6],
                &crc.to_le_bytes(),
                &length,
                &length,
                &(name.len() as u16).to_le_bytes(),
                &(extra.len() as u16).to_le_bytes(),
            ]
            .concat()
        };
        let local = part.local.as_ref().unwrap_or(&part.name);
        out.extend([&b"PK\x03\x04\x14\0"[..], &fields(local, sum.sum(), &[]), local, &part.content].concat());
        let listed = fields(&part.name, part.crc.unwrap_or(sum.sum()), &part.extra);
        let rest = [&[0; 10][..], &at.to_le_bytes(), &part.name, &part.extra].concat();
        directory.extend([&b"PK\x01\x02\x14\0\x14\0"[..], &listed, &rest].concat());
    }
    let count = (parts.len() as u16).to_le_bytes();
    let (size, start) = ((directory.len() as u32).to_le_bytes(), ((base + out.len()) as u32).to_le_bytes());
    let end = [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &size, &start].concat();
    [out, directory, end, (comment.len() as u16).to_le_bytes().to_vec(), comment.to_vec()].concat()
}

pub fn archive(parts: &[Part]) -> Vec<u8> {
    archive_at(parts, 0, b"")
}

fn ambiguous(bytes: &[u8], words: &str) {
    let error = match Zip::open(bytes) {
        Err(fault) => fault,
        Ok(zip) => {
            let contents = zip.members().iter().map(|member| zip.content(member, &Allowance::new(1 << 20)));
            contents.filter_map(Result::err).next().expect(words)
        }
    };
    assert!(matches!(&error, Fault::Ambiguous(what) if what.contains(words)), "{words}: {error:?}");
}

#[test]
fn members_are_read_as_everybody_reads_them() {
    let bytes = archive_at(&[Part::new("a/x", b"one"), Part::new("a/y", b"")], 0, b"a comment");
    let zip = Zip::open(&bytes).unwrap();
    let names: Vec<&str> = zip.members().iter().map(|member| &*member.name).collect();
    assert_eq!((names, zip.unclaimed), (vec!["a/x", "a/y"], 0));
    let content = zip.content(zip.find("a/x").unwrap(), &Allowance::new(0)).unwrap();
    assert_eq!(&*content, b"one");
    assert!(zip.find("A/x").is_none());
}

#[test]
fn what_readers_take_differently_is_refused() {
    let part = || Part::new("a/data.pkl", b"N.");
    ambiguous(&archive(&[part(), part()]), "two members are called `a/data.pkl`");
    ambiguous(&archive(&[part(), Part::new("A/Data.pkl", b"N.")]), "differ in case only");
    ambiguous(&archive(&[Part { local: Some(b"a/other.pkl"[..].into()), ..part() }]), "another name");
    ambiguous(&archive(&[Part { crc: Some(1), ..part() }]), "another checksum");
    for flag in [0x0001, 0x0020, 0x0040, 0x2000] {
        ambiguous(&archive(&[Part { flags: flag, ..part() }]), "flag bits");
    }
    ambiguous(&archive(&[Part::new("a\\data.pkl", b"N.")]), "two ways");
    ambiguous(&archive(&[Part::new("a/data.pkl\0.txt", b"N.")]), "two ways");
    // Info-ZIP's Unicode path: version, checksum of the name, another name.
    let extra = [&b"\x75\x70\x09\0\x01\0\0\0\0"[..], b"evil"].concat();
    ambiguous(&archive(&[Part { extra, ..part() }]), "second name");
    let good = archive(&[part()]);
    ambiguous(&[&good[..], b"behind"].concat(), "6 bytes behind the end");
    // A checksum that both headers agree on, and that is wrong.
    let mut wrong = good.clone();
    let at = wrong.windows(2).position(|pair| pair == b"N.").unwrap();
    wrong[at] = b'K';
    ambiguous(&wrong, "another checksum");
}

#[test]
fn two_directories_are_two_archives() {
    let (first, second) = (Part::new("a/data.pkl", b"N."), Part::new("a/data.pkl", b"I1\n."));
    let one = archive(std::slice::from_ref(&first));
    // Offsets as if it stood alone, and offsets that are right.
    ambiguous(&[one.clone(), archive(std::slice::from_ref(&second))].concat(), "two end records");
    let right = archive_at(std::slice::from_ref(&second), one.len(), b"");
    ambiguous(&[one.clone(), right].concat(), "two ");
    // One archive in the comment of another: which is the last depends on how far a reader searches.
    let inner = archive_at(std::slice::from_ref(&second), one.len(), b"");
    ambiguous(&archive_at(std::slice::from_ref(&first), 0, &inner), "");
    // A member that is itself an archive is no second directory.
    let outer = archive(&[Part::new("a/inner.zip", &one)]);
    assert_eq!(Zip::open(&outer).unwrap().members().len(), 1);
}

#[test]
fn members_may_not_overlap() {
    let mut bytes = archive(&[Part::new("a", b"one"), Part::new("b", b"two")]);
    // The second entry of the directory points at the first member, under its own name.
    let entry = bytes.windows(4).enumerate().filter(|(_, w)| *w == b"PK\x01\x02").nth(1).unwrap().0;
    bytes[entry + 42..entry + 46].fill(0);
    ambiguous(&bytes, "another name");
    let mut overlapping = archive(&[Part::new("a", &archive(&[Part::new("b", b"two")])), Part::new("b", b"two")]);
    let entry = overlapping.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    overlapping[entry + 42..entry + 46].copy_from_slice(&31u32.to_le_bytes());
    ambiguous(&overlapping, "overlap");
}

#[test]
fn bytes_between_members_are_counted() {
    let first = Part::new("a", b"one");
    let body = archive(std::slice::from_ref(&first));
    let member = &body[..34];
    let second = archive_at(&[Part::new("b", b"two")], 0, b"");
    // a, five loose bytes, b; the directory lists both.
    let directory = |bytes: &[u8]| {
        let start = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        bytes[start..bytes.len() - 22].to_vec()
    };
    let mut entry = directory(&second);
    entry[42..46].copy_from_slice(&39u32.to_le_bytes());
    let listed = [directory(&body), entry].concat();
    let end =
        [&b"PK\x05\x06\0\0\0\0\x02\0\x02\0"[..], &(listed.len() as u32).to_le_bytes(), &73u32.to_le_bytes(), &[0, 0]]
            .concat();
    let bytes = [member, b"loose", &second[..34], &listed, &end].concat();
    assert_eq!(Zip::open(&bytes).unwrap().unclaimed, 5);
}

#[test]
fn members_share_one_allowance() {
    let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
    let deflated = ::zip::write::SimpleFileOptions::default().compression_method(::zip::CompressionMethod::Deflated);
    for name in ["a", "b"] {
        writer.start_file(name, deflated).unwrap();
        writer.write_all(&[0; 100_000]).unwrap();
    }
    let bomb = writer.finish().unwrap().into_inner();
    assert!(bomb.len() < 1000);
    let zip = Zip::open(&bomb).unwrap();
    let allowance = Allowance::new(150_000);
    assert_eq!(zip.content(&zip.members()[0], &allowance).unwrap().len(), 100_000);
    assert_eq!(zip.content(&zip.members()[1], &allowance), Err(Fault::TooLarge));
}

#[test]
fn cuts_and_flips_never_panic() {
    let bytes = archive(&[Part::new("a/x", b"one"), Part::new("a/y", b"two")]);
    for at in 0..bytes.len() {
        assert!(Zip::open(&bytes[..at]).is_err(), "cut to {at}");
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            if let Ok(zip) = Zip::open(&damaged) {
                zip.members().iter().for_each(|member| drop(zip.content(member, &Allowance::new(100))));
            }
        }
    }
}
