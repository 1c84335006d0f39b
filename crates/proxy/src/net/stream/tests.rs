//! Whoever waits for bytes is woken.

use std::future::poll_fn;
use std::io;
use std::os::fd::BorrowedFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::coop::has_budget_remaining;
use tokio::time::sleep;

use super::*;
use crate::net::buffers::Buffers;
use crate::net::clock::{Alarm, Clock};
use crate::net::memory::Memory;
use crate::net::stream::turn::FEW_PIECES;

/// A connection through which somebody has looked for bytes in vain, its other end, and buffers for it.
async fn looked_at() -> (Io, TcpStream, Buffers) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (near, _) = listener.accept().await.unwrap();
    let (io, buffers) = (Io::new(Stream::Plain(near)), Buffers::new(1024, Memory::new()));
    let polled = io.poll_read(&mut Context::from_waker(Waker::noop()), &mut BytesMut::new(), &buffers);
    assert!(polled.is_pending());
    (io, far, buffers)
}

/// Reads what comes once this task waits for it.
async fn check_is_woken(io: &Io, far: &mut TcpStream, buffers: &Buffers) {
    let mut buffer = BytesMut::new();
    let mut read = pin!(io.read(&mut buffer, buffers));
    assert!(poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending())).await);
    far.write_all(b"hello").await.unwrap();
    // The clock first: when it rings it wakes the task, whose read would find what it was not woken for.
    let read = tokio::select! {
        biased;
        () = sleep(Duration::from_secs(30)) => panic!("nobody woke the task"),
        read = read => read,
    };
    assert_eq!(read.unwrap(), 5);
}

#[tokio::test]
async fn a_connection_wakes_the_task_that_has_it_now() {
    let (io, mut far, buffers) = looked_at().await;
    let io = io.for_another_task();
    check_is_woken(&io, &mut far, &buffers).await;
}

#[tokio::test]
async fn who_finds_nothing_after_a_wake_is_woken_again() {
    let (io, mut far, buffers) = looked_at().await;
    far.write_all(b"x").await.unwrap();
    poll_fn(|cx| io.poll_readable(cx)).await.unwrap();
    let take = |socket: BorrowedFd<'_>| {
        rustix::net::recv(socket, &mut [0; 8], rustix::net::RecvFlags::empty()).map(|(taken, _)| taken)
    };
    assert_eq!(io.try_take(|socket| Ok(take(socket)?)).unwrap(), 1);
    let nothing = io.try_take(|socket| Ok(take(socket)?)).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    check_is_woken(&io, &mut far, &buffers).await;
}

#[tokio::test]
async fn what_is_read_to_its_end_is_waited_for_anew() {
    let (io, mut far, buffers) = looked_at().await;
    let io = io.for_another_task();
    for _ in 0..3 {
        check_is_woken(&io, &mut far, &buffers).await;
        assert!(io.is_quiet());
    }
    drop(far);
    let mut buffer = BytesMut::new();
    assert_eq!(io.read(&mut buffer, &buffers).await.unwrap(), 0);
    assert!(!io.is_quiet());
}

/// Two that take turns acknowledge with what they say, after up to 40 ms, for which the rest of an answer may wait.
#[tokio::test]
async fn the_rest_of_an_answer_is_not_kept_waiting() {
    let (io, mut far, buffers) = looked_at().await;
    let io = io.for_another_task();
    let delays = |io: &Io| !io.acknowledges_at_once();
    let alarm = Alarm::new(Rc::new(Clock::new()));
    let mut buffer = BytesMut::new();
    let mut turns = 0;
    while !delays(&io) {
        turns += 1;
        assert!(turns < 1000, "the kernel acknowledges at once by itself");
        far.write_all(b"answer").await.unwrap();
        buffer.clear();
        io.read(&mut buffer, &buffers).await.unwrap();
        io.write_all(b"request", b"", &alarm, Duration::from_secs(30)).await.unwrap();
        let mut request = [0; 7];
        far.read_exact(&mut request).await.unwrap();
    }
    far.write_all(b"a head").await.unwrap();
    io.read(&mut buffer, &buffers).await.unwrap();
    io.acknowledge();
    assert!(!delays(&io));
}

/// 64 KiB at once, or 2,048 pieces of next to nothing: then others have their turn.
#[tokio::test]
async fn a_turn_ends_by_pieces_too() {
    for (pieces, is_over) in [(0, false), (FEW_PIECES, false), (1024, false), (2048, true), (1 << 20, true)] {
        let spending = tokio::spawn(async move {
            spend_on_pieces(pieces);
            !has_budget_remaining()
        });
        assert_eq!(spending.await.unwrap(), is_over, "{pieces} pieces");
    }
}
