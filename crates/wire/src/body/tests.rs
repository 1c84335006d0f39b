use proptest::prelude::*;

use super::*;

/// Walks `input` in pieces and returns what was passed on and how much was taken, or why it was refused.
fn walk(mut body: BodyWalk, input: &[u8], pieces: &[usize]) -> Result<(Vec<u8>, usize), Malformed> {
    let (mut buffer, mut kept, mut taken) = (Vec::new(), Vec::new(), 0);
    let mut pieces = pieces.iter().copied().cycle();
    let mut fed = 0;
    loop {
        let walked = body.walk(&mut buffer)?;
        kept.extend_from_slice(&buffer[..walked.kept]);
        buffer.drain(..walked.taken);
        taken += walked.taken;
        if walked.is_end || fed == input.len() {
            return Ok((kept, taken));
        }
        let piece = pieces.next().unwrap().max(1).min(input.len() - fed);
        buffer.extend_from_slice(&input[fed..fed + piece]);
        fed += piece;
    }
}

fn chunked() -> BodyWalk {
    BodyWalk::of_request(RequestBody::Chunked, Some(1000)).unwrap()
}

/// The same outcome whole, byte by byte, and at every split.
fn check(input: &str, want: Result<(&str, usize), Malformed>) {
    let want = want.map(|(kept, taken)| (kept.as_bytes().to_vec(), taken));
    for cut in 0..=input.len() {
        assert_eq!(walk(chunked(), input.as_bytes(), &[cut, input.len()]), want, "{input:?} cut at {cut}");
    }
    assert_eq!(walk(chunked(), input.as_bytes(), &[1]), want, "{input:?} byte by byte");
}

#[test]
fn chunks_pass_as_they_came() {
    check("3\r\nabc\r\n0\r\n\r\n", Ok(("3\r\nabc\r\n0\r\n\r\n", 13)));
    check("3\r\nabc\r\n0\r\n\r\nGET /", Ok(("3\r\nabc\r\n0\r\n\r\n", 13)));
    check("00A\r\n0123456789\r\n000\r\n\r\n", Ok(("00A\r\n0123456789\r\n000\r\n\r\n", 24)));
    check("3;a=b\r\nabc\r\n0;x\r\n\r\n", Ok(("3\r\nabc\r\n0\r\n\r\n", 19)));
}

#[test]
fn trailers_that_may_travel_do() {
    check("0\r\nX-Sum: 1\r\n\r\n", Ok(("0\r\nX-Sum: 1\r\n\r\n", 15)));
    check("0\r\nContent-Length: 5\r\nA: b\r\n\r\n", Ok(("0\r\nA: b\r\n\r\n", 30)));
    check("0\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n", Ok(("0\r\n\r\n", 31)));
}

#[test]
fn what_could_be_read_two_ways_is_refused() {
    for size in [
        "",
        " 3",
        "+3",
        "0x3",
        "g",
        "3 ",
        "-1",
        "3 ;a",
        "3\t",
        "11111111111111111",
        "ffffffffffffffff",
        "8000000000000000",
        "1000000000000001",
    ] {
        check(&format!("{size}\r\nabc\r\n0\r\n\r\n"), Err(Malformed::ChunkSize));
    }
    check("3\nabc\r\n0\r\n\r\n", Err(Malformed::BareLf));
    check("3\r\nabc\n0\r\n\r\n", Err(Malformed::ChunkEnd));
    check("3\r\nabcd\r\n0\r\n\r\n", Err(Malformed::ChunkEnd));
    check("3;a=\x01\r\nabc\r\n0\r\n\r\n", Err(Malformed::ChunkExtension));
    check("0\r\nA : b\r\n\r\n", Err(Malformed::Trailer));
    check("0\r\n A: b\r\n\r\n", Err(Malformed::Trailer));
    check("0\r\nA: b\n\r\n", Err(Malformed::BareLf));
    check("0\r\nGET / HTTP/1.1\r\n\r\n", Err(Malformed::Trailer));
}

#[test]
fn blanks_behind_a_size_are_taken_from_nodes() {
    let answer = || BodyWalk::of_answer(AnswerBody::Chunked, true);
    for size in ["3 ", "3\t \t", "3 ;a=b", "3; a", "003 "] {
        let input = format!("{size}\r\nabc\r\n0 \r\n\r\n");
        let digits = size.trim_end_matches([' ', '\t', ';', 'a', '=', 'b']);
        let want = (format!("{digits}\r\nabc\r\n0\r\n\r\n").into_bytes(), input.len());
        for cut in 0..=input.len() {
            assert_eq!(walk(answer(), input.as_bytes(), &[cut, input.len()]), Ok(want.clone()), "{size:?}");
        }
    }
    for size in ["", " ", " 3", "3 3", "3 x", "3 \x01"] {
        let input = format!("{size}\r\nabc\r\n0\r\n\r\n");
        assert_eq!(walk(answer(), input.as_bytes(), &[4]), Err(Malformed::ChunkSize), "{size:?}");
    }
}

#[test]
fn the_longest_chunk_that_may_be_said_is_one_of_an_exbibyte() {
    for body in [
        BodyWalk::of_request(RequestBody::Chunked, None).unwrap(),
        BodyWalk::of_answer(AnswerBody::Chunked, false),
    ] {
        assert!(walk(body, b"1000000000000000\r\nabc", &[64]).is_ok());
    }
    for size in ["1000000000000001", "ffffffffffffffff"] {
        let input = format!("{size}\r\nabc\r\n");
        let body = BodyWalk::of_answer(AnswerBody::Chunked, true);
        assert_eq!(walk(body, input.as_bytes(), &[64]), Err(Malformed::ChunkSize));
    }
}

#[test]
fn bounds_hold() {
    let extension = format!("3;{}\r\nabc\r\n", "x".repeat(1000)).repeat(9);
    assert_eq!(walk(chunked(), extension.as_bytes(), &[4096]), Err(Malformed::ChunkExtension));
    let long = format!("3;{}", "x".repeat(2000));
    assert_eq!(walk(chunked(), long.as_bytes(), &[1]), Err(Malformed::ChunkSize));
    let trailers = format!("0\r\n{}", format!("A: {}\r\n", "x".repeat(1000)).repeat(9));
    assert_eq!(walk(chunked(), trailers.as_bytes(), &[4096]), Err(Malformed::Trailer));
    let body = format!("3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1001));
    assert_eq!(walk(chunked(), body.as_bytes(), &[64]), Err(Malformed::BodyTooLong));
    assert_eq!(
        BodyWalk::of_request(RequestBody::Length(1001), Some(1000)).err(),
        Some(Malformed::BodyTooLong)
    );
}

#[test]
fn what_nobody_looks_at_may_pass_unseen() {
    let mut body = BodyWalk::of_answer(AnswerBody::Length(10), true);
    assert_eq!(body.walk(&mut [b'x'; 4]), Ok(Walked { kept: 4, taken: 4, is_end: false, pieces: 0 }));
    assert_eq!(body.unseen(), 6);
    body.pass_unseen(5);
    assert_eq!((body.unseen(), body.is_at_end()), (1, false));
    body.pass_unseen(1);
    assert_eq!((body.unseen(), body.is_at_end()), (0, true));
    for coded in [AnswerBody::Chunked, AnswerBody::UntilClose] {
        assert_eq!(BodyWalk::of_answer(coded, true).unseen(), 0);
    }
    let mut watched = BodyWalk::of_request(RequestBody::Length(10), None).unwrap();
    watched.watch_for_close_packet(CloseScan::new(crate::engineio::Revision::V4, false));
    assert_eq!(watched.unseen(), 0);
    let mut seen = BodyWalk::of_answer(AnswerBody::Length(10), true);
    seen.watch_all();
    assert_eq!(seen.unseen(), 0);
}

#[test]
fn a_beginning_is_recognised_however_it_is_framed_and_cut() {
    for (input, body, want) in [
        ("{\"code\":1,}", AnswerBody::Length(11), true),
        ("{\"code\":2,}", AnswerBody::Length(11), false),
        ("2\r\n{\"\r\n9;x\r\ncode\":1,}\r\n0\r\n\r\n", AnswerBody::Chunked, true),
        ("2\r\n{\"\r\n9;x\r\ncode\":2,}\r\n0\r\n\r\n", AnswerBody::Chunked, false),
        ("{\"code\":1,}", AnswerBody::UntilClose, true),
        ("{\"code", AnswerBody::Length(6), false),
    ] {
        for piece in 1..=input.len() {
            let mut walk = BodyWalk::of_answer(body, true);
            walk.watch_beginning(b"{\"code\":1,");
            assert_eq!(walk.unseen(), 0, "it has to be seen");
            let mut buffer = Vec::new();
            for bytes in input.as_bytes().chunks(piece) {
                buffer.extend_from_slice(bytes);
                let walked = walk.walk(&mut buffer).expect("a good body");
                buffer.drain(..walked.taken);
            }
            assert_eq!(walk.begins_as_asked(), want, "{input:?} in pieces of {piece}");
        }
    }
}

#[test]
fn an_http_10_client_gets_the_content_alone() {
    let body = BodyWalk::of_answer(AnswerBody::Chunked, false);
    let got = walk(body, b"3;x\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n", &[4]);
    assert_eq!(got, Ok((b"abcde".to_vec(), 28)));
}

proptest! {
    /// Where a body ends, and what is passed on of it, does not depend on how its bytes were cut.
    #[test]
    fn cuts_do_not_matter(
        content in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 0..8),
        pieces in proptest::collection::vec(1_usize..50, 1..20),
        follows in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut input = Vec::new();
        for chunk in &content {
            input.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            input.extend_from_slice(chunk);
            input.extend_from_slice(b"\r\n");
        }
        input.extend_from_slice(b"0\r\n\r\n");
        let whole = input.clone();
        input.extend_from_slice(&follows);
        let body = BodyWalk::of_request(RequestBody::Chunked, None).unwrap();
        prop_assert_eq!(walk(body, &input, &pieces), Ok((whole.clone(), whole.len())));
        let decoded = walk(BodyWalk::of_answer(AnswerBody::Chunked, false), &input, &pieces);
        prop_assert_eq!(decoded, Ok((content.concat(), whole.len())));
    }

    #[test]
    fn garbage_never_panics(input in proptest::collection::vec(any::<u8>(), 0..300), piece in 1_usize..40) {
        let _ = walk(chunked(), &input, &[piece]);
    }
}
