//! A body on its way: where it ends and what is passed on does not depend on how it was cut, and what is passed on is the
//! same body again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::Malformed;
use wire::answer::AnswerBody;
use wire::body::BodyWalk;
use wire::request::RequestBody;

/// What is passed on of `input`, how much of it was taken, and whether it has ended.
fn walk(mut body: BodyWalk, input: &[u8], piece: usize) -> Result<(Vec<u8>, usize, bool), Malformed> {
    let (mut buffer, mut kept, mut taken) = (Vec::new(), Vec::new(), 0);
    for bytes in input.chunks(piece.max(1)) {
        buffer.extend_from_slice(bytes);
        let walked = body.walk(&mut buffer)?;
        kept.extend_from_slice(&buffer[..walked.kept]);
        buffer.drain(..walked.taken);
        taken += walked.taken;
        if walked.is_end {
            return Ok((kept, taken, true));
        }
    }
    Ok((kept, taken, false))
}

fuzz_target!(|data: &[u8]| {
    let [choice, piece, input @ ..] = data else { return };
    let body = || match choice % 5 {
        0 => BodyWalk::of_request(RequestBody::Chunked, Some(u64::from(choice >> 3))),
        1 => BodyWalk::of_request(RequestBody::Length(u64::from(*choice)), None),
        2 => Ok(BodyWalk::of_answer(AnswerBody::Chunked, true)),
        3 => Ok(BodyWalk::of_answer(AnswerBody::Chunked, false)),
        _ => Ok(BodyWalk::of_answer(AnswerBody::UntilClose, true)),
    };
    let Ok(whole) = body() else { return };
    let whole = walk(whole, input, input.len());
    let in_pieces = walk(body().expect("as before"), input, usize::from(*piece));
    match (&whole, &in_pieces) {
        // What is wrong at the end may be wrong in another way where less has come.
        (Err(_), Err(_)) => {}
        _ => assert_eq!(whole, in_pieces),
    }
    let Ok((kept, taken, is_end)) = whole else { return };
    assert!(taken <= input.len() && kept.len() <= taken);
    if is_end && matches!(choice % 5, 0 | 2) {
        let again = walk(BodyWalk::of_request(RequestBody::Chunked, None).expect("no bound"), &kept, 7);
        assert_eq!(again, Ok((kept.clone(), kept.len(), true)), "what is passed on is strict");
    }
});
