//! What can be asked of the apps, and how far tidelock's own end has come.

use std::time::Duration;

/// What can be asked of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Runs what was stopped or given up, and starts at once what waits for its next start. Done when all is ready;
    /// failed when an instance fails on the way, which is then started again all the same.
    Start,
    /// Empties every instance, all at the same time, and stops it. Done when the last one is gone. It stays stopped,
    /// over reloads too, until `Start`.
    Stop,
    /// The blunt one: every instance is told to end at once, without being emptied first, and started again when it is
    /// gone. Nobody serves meanwhile. Done when all is ready.
    Restart,
    /// Replaces the instances one after the other, with one more than usual while it lasts: a new one is started; when
    /// it is ready the old one is emptied and stopped. If a new one does not get ready the roll ends there, and the
    /// old ones stay. One that is asked for during another takes its place.
    Roll {
        /// The budget of the whole roll: sessions are spread over so long, divided among the instances. `None` gives
        /// each instance the window of [`Options::drain`](crate::Options::drain).
        window: Option<Duration>,
    },
    /// So many instances, from 1 to 1,024, until the next `Scale` or until the file says another number. New ones take
    /// the next slots; the highest are emptied and stopped.
    Scale(u32),
}

/// How far tidelock's own end has come. It only ever gets further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ShutdownStage {
    No,
    /// Nothing is started any more.
    Soon,
    /// Everything ends, by its signal and then by SIGKILL.
    Now,
    /// Everything is killed.
    AtOnce,
}
