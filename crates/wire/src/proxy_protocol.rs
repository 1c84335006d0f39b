//! The PROXY protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt of 2020-03-05): what a load balancer says of a
//! client in front of the first byte of its connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What [`read`] has found at the beginning of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// So many bytes more are needed, at least, before anything is known. That many belong to the header.
    More(usize),
    /// All of the header is there.
    Whole {
        /// How many bytes it takes: the client's own begin behind them.
        bytes: usize,
        /// Where the client is; `None` if the connection is the load balancer's own (LOCAL), or if it does not know (UNKNOWN,
        /// UNSPEC, Unix sockets).
        client: Option<SocketAddr>,
    },
}

/// Why it is no header. Its `Display` is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoHeader {
    /// It begins as neither version does.
    Signature,
    /// A line of version 1 that says something else than the protocol has words for, or ends nowhere.
    Line,
    /// A version or command that there is not.
    Version,
    /// More than [`BYTES_MAX`] bytes, or less than its addresses take.
    Length,
    /// A checksum that is not that of the header.
    Checksum,
}

impl std::fmt::Display for NoHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Signature => "no PROXY header in front",
            Self::Line => "a PROXY line that cannot be read",
            Self::Version => "a PROXY header of an unknown version or command",
            Self::Length => "a PROXY header of a wrong length",
            Self::Checksum => "a PROXY header whose checksum is wrong",
        })
    }
}

/// Reads the header that `bytes`, all that has come of a connection, begin with.
///
/// # Errors
/// If these bytes are not the beginning of a header, whatever comes behind them.
pub fn read(bytes: &[u8]) -> Result<Said, NoHeader> {
    let begins = |signature: &[u8]| bytes.iter().zip(signature).all(|(byte, known)| byte == known);
    match () {
        () if begins(&SIGNATURE) => read_v2(bytes),
        () if begins(PREFIX) => read_v1(bytes),
        () => Err(NoHeader::Signature),
    }
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443` and CRLF.
fn read_v1(bytes: &[u8]) -> Result<Said, NoHeader> {
    let line = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', line) else {
        // The shortest line is `PROXY UNKNOWN`; after it nobody knows where the end is.
        return match line.len() {
            LINE_BYTES_MAX => Err(NoHeader::Line),
            here => Ok(Said::More(LINE_BYTES_MIN.saturating_sub(here).max(1))),
        };
    };
    let line = line[..end].strip_suffix(b"\r").and_then(|line| line.strip_prefix(PREFIX));
    let line = line.and_then(|line| std::str::from_utf8(line).ok()).ok_or(NoHeader::Line)?;
    let mut words = line.split(' ');
    let client = match words.next() {
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(client_of::<Ipv4Addr>(words)?),
        Some("TCP6") => Some(client_of::<Ipv6Addr>(words)?),
        _ => return Err(NoHeader::Line),
    };
    Ok(Said::Whole { bytes: end + 1, client })
}

/// The addresses and ports of both ends, of which the first is the client's.
fn client_of<'a, A: std::str::FromStr + Into<IpAddr>>(
    words: impl Iterator<Item = &'a str>,
) -> Result<SocketAddr, NoHeader> {
    let words: Vec<&str> = words.take(5).collect();
    let [source, destination, source_port, destination_port] = words[..] else { return Err(NoHeader::Line) };
    let address = |text: &str| text.parse::<A>().map_err(|_| NoHeader::Line);
    let port = |text: &str| match text.as_bytes() {
        // No sign, no zero in front.
        [b'1'..=b'9', ..] | [b'0'] => text.parse::<u16>().map_err(|_| NoHeader::Line),
        _ => Err(NoHeader::Line),
    };
    address(destination)?;
    port(destination_port)?;
    Ok(SocketAddr::new(address(source)?.into(), port(source_port)?))
}

fn read_v2(bytes: &[u8]) -> Result<Said, NoHeader> {
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else {
        return Ok(Said::More(FIXED_BYTES - bytes.len()));
    };
    let [.., version_and_command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = FIXED_BYTES + length;
    let is_proxied = match version_and_command {
        0x20 => false,
        0x21 => true,
        _ => return Err(NoHeader::Version),
    };
    if whole > BYTES_MAX {
        return Err(NoHeader::Length);
    }
    let Some(rest) = bytes.get(FIXED_BYTES..whole) else {
        return Ok(Said::More(whole - bytes.len()));
    };
    let (client, address_bytes) = match family {
        // Whatever stands there, it is of no connection but the load balancer's own.
        _ if !is_proxied => (None, length),
        0x11 | 0x12 => {
            let (&source, _) = rest.split_first_chunk::<4>().ok_or(NoHeader::Length)?;
            (Some((IpAddr::from(source), 8)), 12)
        }
        0x21 | 0x22 => {
            let (&source, _) = rest.split_first_chunk::<16>().ok_or(NoHeader::Length)?;
            (Some((IpAddr::from(source), 32)), 36)
        }
        0x31 | 0x32 => (None, 216),
        // UNSPEC, and what may come: nothing is known of what stands there.
        _ => (None, length),
    };
    let extensions = rest.get(address_bytes..).ok_or(NoHeader::Length)?;
    check_extensions(&bytes[..whole], extensions)?;
    let client = client.map(|(address, port_at)| {
        SocketAddr::new(address, u16::from_be_bytes([rest[port_at], rest[port_at + 1]]))
    });
    Ok(Said::Whole { bytes: whole, client })
}

/// Unknown ones are passed over; the checksum, if there is one, must be that of the header in which it is zero.
fn check_extensions(header: &[u8], mut extensions: &[u8]) -> Result<(), NoHeader> {
    while let [kind, high, low, rest @ ..] = extensions {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, after) = rest.split_at_checked(length).ok_or(NoHeader::Length)?;
        if *kind == TYPE_CRC32C {
            let said: [u8; 4] = value.try_into().map_err(|_| NoHeader::Length)?;
            let at = header.len() - after.len() - said.len();
            let (front, back) = (&header[..at], &header[at + said.len()..]);
            if crc32c([front, &[0; 4], back].into_iter().flatten()) != u32::from_be_bytes(said) {
                return Err(NoHeader::Checksum);
            }
        }
        extensions = after;
    }
    // Less than an extension's head at the end.
    if extensions.is_empty() { Ok(()) } else { Err(NoHeader::Length) }
}

/// Castagnoli's (RFC 9260 appendix A). A few hundred bytes for each connection: a bit at a time will do.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    let shifted = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    !bytes.fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| shifted(crc)))
}

/// The longest header that is read: what is said beside the addresses takes some hundreds of bytes at most.
pub const BYTES_MAX: usize = 4096;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_BYTES: usize = 16;
const TYPE_CRC32C: u8 = 3;
const PREFIX: &[u8] = b"PROXY ";
const LINE_BYTES_MIN: usize = b"PROXY UNKNOWN\r\n".len();
/// With its CRLF (section 2.1).
const LINE_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[version_and_command, family], &length, rest].concat()
    }

    const FOUR: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 0xbb];

    fn whole(bytes: &[u8]) -> Result<Option<SocketAddr>, NoHeader> {
        match read(bytes)? {
            Said::Whole { bytes: all, client } => {
                assert_eq!(all, bytes.len());
                Ok(client)
            }
            more => panic!("{more:?} of {bytes:?}"),
        }
    }

    #[test]
    fn lines_of_version_1() {
        let client = |text: &str| Ok(Some(text.parse().expect("an address")));
        for (line, want) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", client("192.0.2.1:56324")),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", client("[2001:db8::1]:1")),
            ("PROXY UNKNOWN\r\n", Ok(None)),
            ("PROXY UNKNOWN ffff::1 whatever\r\n", Ok(None)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n", Err(NoHeader::Line)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 1\r\n", Err(NoHeader::Line)),
            ("PROXY TCP4  192.0.2.1 192.0.2.2 1 443\r\n", Err(NoHeader::Line)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 01 443\r\n", Err(NoHeader::Line)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n", Err(NoHeader::Line)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n", Err(NoHeader::Line)),
            ("PROXY TCP4 2001:db8::1 192.0.2.2 1 443\r\n", Err(NoHeader::Line)),
            ("PROXY TCP6 192.0.2.1 192.0.2.2 1 443\r\n", Err(NoHeader::Line)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 443\n", Err(NoHeader::Line)),
            ("PROXY UDP4 192.0.2.1 192.0.2.2 1 443\r\n", Err(NoHeader::Line)),
            ("GET / HTTP/1.1\r\n", Err(NoHeader::Signature)),
        ] {
            assert_eq!(whole(line.as_bytes()), want, "{line}");
        }
        assert_eq!(read(&[b"PROXY ".as_slice(), &[b'x'; 200]].concat()), Err(NoHeader::Line));
    }

    #[test]
    fn headers_of_version_2() {
        let six = [[1; 16].as_slice(), &[2; 16], &[0, 80, 1, 187]].concat();
        let unix = [0; 216];
        for (header, want) in [
            (v2(0x21, 0x11, &FOUR), Ok(Some("192.0.2.1:56324".parse().expect("an address")))),
            (v2(0x21, 0x21, &six), Ok(Some(SocketAddr::new([1; 16].into(), 80)))),
            (v2(0x21, 0x31, &unix), Ok(None)),
            (v2(0x21, 0x00, b""), Ok(None)),
            (v2(0x20, 0x11, &FOUR), Ok(None)),
            (v2(0x20, 0x00, b"\x04\0\x01x"), Ok(None)),
            (v2(0x20, 0x11, b""), Ok(None)),
            (
                v2(0x21, 0x11, &[&FOUR[..], b"\xee\0\x03abc\x04\0\0"].concat()),
                Ok(Some("192.0.2.1:56324".parse().expect("an address"))),
            ),
            (v2(0x21, 0x11, &[&FOUR[..], b"\xee\0\x04abc"].concat()), Err(NoHeader::Length)),
            (v2(0x21, 0x11, &[&FOUR[..], b"\xee\0"].concat()), Err(NoHeader::Length)),
            (v2(0x21, 0x11, &FOUR[..11]), Err(NoHeader::Length)),
            (v2(0x21, 0x21, &FOUR), Err(NoHeader::Length)),
            (v2(0x11, 0x11, &FOUR), Err(NoHeader::Version)),
            (v2(0x22, 0x11, &FOUR), Err(NoHeader::Version)),
            (v2(0x21, 0x11, &[0; 5000]), Err(NoHeader::Length)),
        ] {
            assert_eq!(whole(&header), want, "{header:02x?}");
        }
    }

    #[test]
    fn a_checksum_is_that_of_the_whole_header() {
        assert_eq!(crc32c(b"123456789".iter()), 0xe306_9283, "the check value of CRC-32C");
        let mut header = v2(0x21, 0x11, &[&FOUR[..], b"\x01\0\x02h2\x03\0\x04\0\0\0\0\x04\0\x01x"].concat());
        let at = header.len() - 8;
        let checksum = crc32c(header.iter()).to_be_bytes();
        header[at..at + 4].copy_from_slice(&checksum);
        assert!(whole(&header).is_ok());
        // Outside of the frame of the header itself each byte counts.
        for flipped in FIXED_BYTES..FIXED_BYTES + FOUR.len() {
            let mut wrong = header.clone();
            wrong[flipped] ^= 1;
            assert_eq!(whole(&wrong), Err(NoHeader::Checksum), "byte {flipped}");
        }
    }

    /// However it comes in, what is asked for never goes beyond its end.
    #[test]
    fn it_is_read_piece_by_piece() {
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET / HTTP/1.1\r\n".to_vec();
        let binary = [v2(0x21, 0x11, &[&FOUR[..], b"\xee\0\x03abc"].concat()), b"GET /".to_vec()].concat();
        for (sent, all) in [(line, 42), (binary, 34)] {
            let mut here = 0;
            loop {
                match read(&sent[..here]).expect("a header") {
                    Said::More(more) => here += more,
                    Said::Whole { bytes, client } => {
                        assert_eq!((here, bytes), (all, all));
                        break assert!(client.is_some());
                    }
                }
                assert!(here <= all, "{here} of {all}");
            }
        }
    }
}
