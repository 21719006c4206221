//! Reading and writing the integers of the format, with offsets in every error.

use super::Defect;

/// A position in bytes that never runs past their end.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Offset in the file that faults are reported at; advances with `at` unless the bytes were decompressed.
    origin: u64,
    /// Whether `bytes` came out of a compressed part, so that positions in it are no file offsets.
    inside: Option<&'static str>,
}

impl<'a> Cursor<'a> {
    /// Bytes of the file itself.
    pub fn of_file(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0, origin: 0, inside: None }
    }

    /// Bytes decompressed from the part at `origin`; `name` says which.
    pub fn inside(bytes: &'a [u8], origin: u64, name: &'static str) -> Self {
        Cursor { bytes, at: 0, origin, inside: Some(name) }
    }

    /// A fault at the current position.
    pub fn defect(&self, what: impl std::fmt::Display) -> Defect {
        match self.inside {
            None => Defect::at(self.at as u64, what.to_string()),
            Some(name) => Defect::at(self.origin, format!("{name}, byte {}: {what}", self.at)),
        }
    }

    /// Bytes consumed so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize, what: &str) -> Result<&'a [u8], Defect> {
        let slice = self.at.checked_add(n).and_then(|end| self.bytes.get(self.at..end));
        let slice = slice
            .ok_or_else(|| self.defect(format!("cut short: {what} needs {n} bytes, {} are left", self.remaining())))?;
        self.at += n;
        Ok(slice)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Defect> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    /// One byte.
    pub fn u8(&mut self, what: &str) -> Result<u8, Defect> {
        Ok(self.array::<1>(what)?[0])
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, what: &str) -> Result<u32, Defect> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// An unsigned LEB128 integer of at most `max`, in its shortest form.
    pub fn varint(&mut self, max: u64, what: &str) -> Result<u64, Defect> {
        let start = self.clone();
        let mut value = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8(what)?;
            let bits = u64::from(byte & 0x7f);
            if bits.checked_shl(shift).is_none_or(|shifted| shifted >> shift != bits) {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(start.defect(format!("{what} is not in its shortest form")));
                }
                if value > max {
                    return Err(start.defect(format!("{what} is {value}; at most {max} are allowed")));
                }
                return Ok(value);
            }
        }
        Err(start.defect(format!("{what} does not fit 64 bits")))
    }
}

/// Appends an unsigned LEB128 integer.
pub(super) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_and_reject_other_spellings() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, value);
            let mut cursor = Cursor::of_file(&bytes);
            assert_eq!(cursor.varint(u64::MAX, "n"), Ok(value));
            assert_eq!(cursor.remaining(), 0);
        }
        for (bytes, part) in [
            (&[0x80, 0x00][..], "shortest"),
            (&[0xff; 10], "64 bits"),
            (&[0xff; 3], "cut short"),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02], "64 bits"),
        ] {
            let error = Cursor::of_file(bytes).varint(u64::MAX, "n").unwrap_err();
            assert!(error.what.contains(part), "{bytes:x?}: {error}");
        }
        assert!(Cursor::of_file(&[5]).varint(4, "n").unwrap_err().what.contains("at most 4"));
    }
}
