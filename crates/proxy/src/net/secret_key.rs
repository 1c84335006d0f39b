//! Keys of this process's own: what they protect must not follow from what clients see of other random numbers, such as ids of
//! requests.

/// Draws a key from the system's generator.
///
/// # Panics
/// If the kernel gives no random bytes, which it does not refuse once it has started.
pub(crate) fn draw<const BYTES: usize>() -> [u8; BYTES] {
    let mut key = [0; BYTES];
    aws_lc_rs::rand::fill(&mut key).expect("the kernel gives random bytes");
    key
}
