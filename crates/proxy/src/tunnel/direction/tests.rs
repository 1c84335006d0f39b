use crate::net::memory::Memory;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Wake, Waker};

use rustix::event::epoll::EventFlags;

use super::*;
use crate::tunnel::end::Bare;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn end() -> (End, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    let mut end = End::Bare(Bare::new(near.into()));
    end.note(EventFlags::IN | EventFlags::OUT);
    (end, far)
}

#[test]
fn what_the_kernel_finds_out_by_silence_is_silence() {
    for (errno, is_silent) in [(rustix::io::Errno::TIMEDOUT, true), (rustix::io::Errno::CONNRESET, false)] {
        assert_eq!(Broken::source(&errno.into()), Broken::Source { is_silent });
        assert_eq!(Broken::sink(&errno.into()), Broken::Sink { is_silent });
    }
}

/// However it is said, nobody says so much at once that others have to wait for it.
#[test]
fn a_turn_of_a_direction_is_bounded() {
    let empty_frames = [0x81, 0x80, 0, 0, 0, 0].repeat(20_000);
    let long_message = [&[0x82, 0xff, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0][..], &[b'x'; 131_072]].concat();
    for (said, bytes_a_turn) in [(empty_frames, 16 << 10), (long_message, 64 << 10)] {
        let ((mut source, mut client), (mut sink, mut node)) = (end(), end());
        let (buffers, woken) = (Buffers::new(8 << 10, Memory::new()), Arc::new(Woken::default()));
        let (waker, mut direction) = (Waker::from(woken.clone()), Direction::new(u64::MAX));
        let mut cx = Context::from_waker(&waker);
        let writing = std::thread::spawn(move || client.write_all(&said).map(|()| said.len()));
        let (mut passed, mut taken) = (0, vec![0; 1 << 20]);
        while direction.bytes() < 100_000 {
            source.note(EventFlags::IN);
            sink.note(EventFlags::OUT);
            let way = Way { source: &mut source, sink: &mut sink };
            let polled = direction.poll(&mut cx, way, &buffers, &mut IoBudget::new());
            assert!(polled.is_pending());
            let now = direction.bytes() - passed;
            assert!(now <= bytes_a_turn, "{now} bytes in one turn");
            passed += now;
            node.set_nonblocking(true).unwrap();
            while matches!(node.read(&mut taken), Ok(1..)) {}
        }
        // Who has used up a turn is given another one.
        assert!(woken.0.load(Relaxed) > 0);
        drop(source);
        let _ = writing.join().unwrap();
    }
}
