//! The zip file of `torch.save`: members stored as they are, each starting at a multiple of 64 bytes, without times.

use super::serialization_id::serialization_id;

/// The folder that all members lie in.
const ROOT: &str = "archive/";
/// What the content of a member starts at a multiple of.
const ALIGNMENT: usize = 64;
/// Names are UTF-8.
const FLAG_UTF8: u16 = 0x0800;
/// Sizes and checksum stand behind the content.
const FLAG_BEHIND: u16 = 0x0008;
/// Bytes of a header in front of a member, without its name.
const LOCAL_HEADER_BYTES: usize = 30;

/// A file of a pickle and the storages that it refers to.
pub(super) fn archive(pickle: &[u8], storages: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.add("data.pkl", pickle);
    writer.add(".format_version", b"1");
    writer.add(".storage_alignment", b"64");
    writer.add("byteorder", b"little");
    for (key, storage) in storages.iter().enumerate() {
        writer.add(&format!("data/{key}"), storage);
    }
    writer.add("version", b"3\n");
    // PyTorch counts the checksums of what holds something.
    let of_content = |member: &Member| (member.size > 0).then_some(member.checksum);
    let id = serialization_id(writer.members.iter().map(|member| (member.name.as_str(), of_content(member))));
    writer.add(".data/serialization_id", id.as_bytes());
    writer.finish()
}

struct Member {
    name: String,
    flags: u16,
    checksum: u32,
    size: u32,
    offset: u32,
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    members: Vec<Member>,
}

impl Writer {
    fn add(&mut self, name: &str, content: &[u8]) {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        // An artifact holds at most 1 GiB of weights.
        let (checksum, size, offset) = (crc.sum(), content.len() as u32, self.bytes.len() as u32);
        let path_bytes = ROOT.len() + name.len();
        // Of nothing nothing stands behind it.
        let flags = if content.is_empty() { FLAG_UTF8 } else { FLAG_UTF8 | FLAG_BEHIND };
        // A field of the header fills it up: its mark, its length, and as many bytes as the alignment needs.
        const FIELD_BYTES: usize = 4;
        let unpadded = self.bytes.len() + LOCAL_HEADER_BYTES + path_bytes + FIELD_BYTES;
        let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;

        let bytes = &mut self.bytes;
        bytes.extend(b"PK\x03\x04\0\0");
        bytes.extend(flags.to_le_bytes());
        // Method, time, date; checksum and sizes, which stand behind the content.
        bytes.extend([0; 18]);
        bytes.extend((path_bytes as u16).to_le_bytes());
        bytes.extend(((FIELD_BYTES + padding) as u16).to_le_bytes());
        bytes.extend(ROOT.bytes().chain(name.bytes()));
        bytes.extend(b"FB");
        bytes.extend((padding as u16).to_le_bytes());
        bytes.extend(std::iter::repeat_n(b'Z', padding));
        bytes.extend(content);
        if !content.is_empty() {
            bytes.extend(b"PK\x07\x08");
            [checksum, size, size].iter().for_each(|field| bytes.extend(field.to_le_bytes()));
        }
        self.members.push(Member { name: name.to_string(), flags, checksum, size, offset });
    }

    /// The directory, then its end in the form for large files and in the usual one.
    fn finish(self) -> Vec<u8> {
        let Writer { mut bytes, members } = self;
        let directory = bytes.len() as u64;
        for Member { name, flags, checksum, size, offset } in &members {
            bytes.extend(b"PK\x01\x02\0\0\0\0");
            bytes.extend(flags.to_le_bytes());
            bytes.extend([0; 6]);
            [checksum, size, size].iter().for_each(|field| bytes.extend(field.to_le_bytes()));
            bytes.extend(((ROOT.len() + name.len()) as u16).to_le_bytes());
            // Extra field, comment, disk, attributes.
            bytes.extend([0; 12]);
            bytes.extend(offset.to_le_bytes());
            bytes.extend(ROOT.bytes().chain(name.bytes()));
        }
        let (count, end) = (members.len() as u64, bytes.len() as u64);
        let length = end - directory;
        /// What follows in the record of the large form.
        const REST_OF_RECORD: u64 = 44;
        bytes.extend(b"PK\x06\x06");
        bytes.extend(REST_OF_RECORD.to_le_bytes());
        // Made by version 3.0 on Unix, to be read by 4.5; both disks are the first.
        bytes.extend([0x1e, 3, 0x2d, 0]);
        bytes.extend([0; 8]);
        [count, count, length, directory].iter().for_each(|field| bytes.extend(field.to_le_bytes()));
        bytes.extend(b"PK\x06\x07\0\0\0\0");
        bytes.extend(end.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        let short = u16::try_from(count).unwrap_or(u16::MAX);
        [short, short].iter().for_each(|field| bytes.extend(field.to_le_bytes()));
        [length as u32, directory as u32].iter().for_each(|field| bytes.extend(field.to_le_bytes()));
        bytes.extend([0; 2]);
        bytes
    }
}
