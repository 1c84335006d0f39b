//! What an app does when this and that happens to it, told event by event; and that some things never happen, whatever
//! does.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use config::app::{App, Instances};

use super::world::{DRAIN, MEMORY_MAX, World, app};
use super::{AppCommand, Event};
use crate::status::InstanceState;

mod any_order;
mod rolling;
mod upgrade;

fn up(instances: u32) -> World {
    let mut world = World::new(app(instances), 7);
    world.calm_down();
    world.history.clear();
    world
}

/// Slots and generations, `*` behind those that are not ready.
fn live(world: &World) -> String {
    let one = |(id, process): (&config::roster::InstanceId, &super::world::Process)| {
        let mark = if process.ready_since.is_none() { "*" } else { "" };
        format!("{}.{}{mark}", id.slot, id.generation)
    };
    world.live.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn current(world: &World) -> String {
    let of = world.published.iter().filter(|instance| instance.is_current);
    of.map(|instance| format!("{}.{}", instance.id.slot, instance.id.generation))
        .collect::<Vec<_>>()
        .join(" ")
}

fn states(world: &World) -> Vec<InstanceState> {
    world.machine.look(world.now).instances.into_iter().map(|instance| instance.state).collect()
}

fn outcome(world: &World, ticket: u64) -> Option<String> {
    world.ended.get(&ticket).map(|outcome| match outcome {
        Ok(done) => done.clone(),
        Err(why) => format!("error: {why}"),
    })
}

#[test]
fn instances_are_published_as_they_become_ready() {
    let mut world = World::new(app(2), 1);
    assert_eq!(live(&world), "0.1* 1.2*");
    world.ready(world.only(1));
    assert_eq!(current(&world), "1.2");
    assert_eq!(outcome(&world, 1), None);
    world.ready(world.only(0));
    assert_eq!(current(&world), "0.1 1.2");
    assert_eq!(outcome(&world, 1).unwrap(), "chat: 2 instances ready");
}

#[test]
fn as_many_as_there_are_cores() {
    assert_eq!(live(&up(0)), "0.1 1.2 2.3");
}

#[test]
fn one_that_dies_is_started_again_after_the_first_pause_and_the_others_stay() {
    let mut world = up(3);
    world.dies(world.only(1));
    assert_eq!((live(&world).as_str(), current(&world).as_str()), ("0.1 2.3", "0.1 2.3"));
    assert_eq!(states(&world), [InstanceState::Ready, InstanceState::Waiting, InstanceState::Ready]);
    world.pass(Duration::from_millis(49));
    assert_eq!(live(&world), "0.1 2.3");
    world.pass(Duration::from_millis(51));
    assert_eq!(live(&world), "0.1 1.4* 2.3");
    world.calm_down();
    assert_eq!(current(&world), "0.1 1.4 2.3");
}

#[test]
fn a_command_that_ends_at_once_is_a_crash_loop_with_ever_longer_pauses() {
    let mut world = World::new(app(1), 3);
    let began = world.now;
    let mut starts = 1;
    while world.now - began < Duration::from_secs(60) {
        world.dies(world.only(0));
        assert!(starts < 3 || states(&world) == [InstanceState::CrashLoop], "{starts}");
        assert!(world.published.is_empty());
        assert!(world.pass_to_deadline());
        starts += 1;
    }
    // 0.1 + 0.2 + … + 12.8 s are 25.5 s and 8 pauses, and from then on it is 15 s; the dice take up to half away.
    assert!((11..=16).contains(&starts), "{starts} starts in a minute");
    assert_eq!(
        outcome(&world, 1).unwrap(),
        "error: chat: instance 0: it was ended by SIGKILL before it was ready"
    );
    let seen = world.machine.look(world.now).instances.remove(0);
    assert_eq!(seen.restarts, starts - 1);
}

#[test]
fn a_stable_time_makes_the_next_pause_the_first_again() {
    let mut world = up(1);
    for _ in 0..6 {
        world.dies(world.only(0));
        assert!(world.pass_to_deadline());
        world.ready(world.only(0));
    }
    world.pass(Duration::from_secs(30));
    world.dies(world.only(0));
    world.pass(Duration::from_millis(100));
    assert_eq!(live(&world), "0.8*");
}

#[test]
fn it_is_given_up_after_so_many_restarts_until_it_is_told() {
    let mut world = up(1);
    let mut app = app(1);
    app.restart.max = Some(2);
    world.tell(AppCommand::Change(Arc::new(app)));
    assert_eq!(live(&world), "0.1", "how it is restarted is no reason to touch it");
    for _ in 0..2 {
        world.dies(world.only(0));
        assert!(world.pass_to_deadline());
    }
    world.dies(world.only(0));
    assert_eq!(states(&world), [InstanceState::GivenUp]);
    assert!(!world.pass_to_deadline());
    let more = world.tell(AppCommand::Scale(2));
    assert!(outcome(&world, more).unwrap().contains("instance 0 was given up"), "nobody waits for it");
    world.tell(AppCommand::Scale(1));
    world.calm_down();
    world.tell(AppCommand::Start);
    assert_eq!(live(&world), "0.5*");
}

#[test]
fn a_job_that_has_done_its_work_waits_until_it_is_wanted_again() {
    let mut world = up(1);
    world.finishes(world.only(0));
    assert_eq!(states(&world), [InstanceState::Finished]);
    world.pass(Duration::from_hours(5));
    assert_eq!(live(&world), "");
    // `cron` says so.
    let ticket = world.tell(AppCommand::Roll { window: None });
    assert_eq!(live(&world), "0.2*");
    world.finishes(world.only(0));
    assert_eq!(outcome(&world, ticket).unwrap(), "chat: 1 instance replaced and ready");
    assert_eq!(states(&world), [InstanceState::Finished]);
    // It may be at work still when it is time again.
    world.tell(AppCommand::Roll { window: None });
    world.calm_down();
    assert_eq!(live(&world), "0.3");
    let ticket = world.tell(AppCommand::Restart(None));
    world.calm_down();
    assert_eq!(live(&world), "0.4");
    assert_eq!(outcome(&world, ticket).unwrap(), "chat: 1 instance ready");
    world.finishes(world.only(0));
    world.tell(AppCommand::Start);
    assert_eq!(live(&world), "0.5*");
    // One that is told to go has not finished, whatever it says.
    world.calm_down();
    world.tell(AppCommand::Stop);
    world.calm_down();
    assert_eq!(states(&world), [InstanceState::Stopped]);
}

#[test]
fn one_that_is_not_ready_in_time_is_stopped_and_started_again_when_it_is_gone() {
    let mut world = World::new(app(1), 1);
    let id = world.only(0);
    world.started(id);
    world.step(Event::NotReady { id, why: "nothing listens on its port".to_owned() });
    assert!(world.live[&id].stopped.is_some());
    world.pass(Duration::from_secs(20));
    assert_eq!(live(&world), "0.1*", "its place is not free yet");
    world.pass(Duration::from_secs(10));
    assert!(world.told().contains("Kill"), "it did not obey");
    world.dies(id);
    assert_eq!(live(&world), "0.2*");
    let cause = world.machine.look(world.now).instances.remove(0).cause;
    assert_eq!(cause, "nothing listens on its port");
}

#[test]
fn one_of_which_nothing_is_heard_is_not_ready_either() {
    let mut world = World::new(app(1), 1);
    world.started(world.only(0));
    world.pass_to_deadline();
    assert!(world.told().contains("it was not ready within 30s"), "{}", world.told());
}

#[test]
fn what_cannot_be_started_is_tried_again() {
    let mut world = World::new(app(1), 1);
    world.step(Event::NotStarted { id: world.only(0), why: "there is no node".to_owned() });
    assert_eq!(
        outcome(&world, 1).unwrap(),
        "error: chat: instance 0: it cannot be started: there is no node"
    );
    world.pass(Duration::from_millis(100));
    assert_eq!(live(&world), "0.2*");
}

#[test]
fn a_stop_empties_all_at_once_and_a_start_comes_after_it() {
    let mut world = up(2);
    let stop = world.tell(AppCommand::Stop);
    assert!(world.live.values().all(|process| process.emptying.is_some() && process.stopped.is_none()));
    let first = world.only(0);
    world.emptied(first);
    assert!(world.live[&first].stopped.is_some());
    assert_eq!(current(&world), "0.1 1.2", "until they are gone their sessions may be there");
    let start = world.tell(AppCommand::Start);
    assert_eq!(outcome(&world, stop).unwrap(), "error: chat: started meanwhile");
    world.dies(first);
    assert_eq!(live(&world), "0.3* 1.2");
    world.calm_down();
    assert_eq!(
        (live(&world).as_str(), outcome(&world, start).unwrap().as_str()),
        ("0.3 1.4", "chat: 2 instances ready")
    );
    let stop = world.tell(AppCommand::Stop);
    world.calm_down();
    assert_eq!(live(&world), "");
    assert_eq!(outcome(&world, stop).unwrap(), "chat: stopped, nothing is left of it");
    assert_eq!(states(&world), [InstanceState::Stopped, InstanceState::Stopped]);
}

#[test]
fn what_is_not_empty_at_its_deadline_and_does_not_stop_at_its_own_is_killed() {
    let mut world = up(1);
    world.tell(AppCommand::Stop);
    let id = world.only(0);
    world.now += DRAIN.deadline;
    world.step(Event::Emptied { id, left: Some("3 WebSockets".to_owned()) });
    world.pass(Duration::from_secs(30));
    assert!(world.told().contains("3 WebSockets left at the deadline") && world.told().contains("Kill"));
}

#[test]
fn a_restart_signals_all_at_once_and_empties_none() {
    let mut world = up(2);
    let restart = world.tell(AppCommand::Restart(None));
    assert!(world.live.values().all(|process| process.stopped.is_some() && process.emptying.is_none()));
    world.calm_down();
    assert_eq!(live(&world), "0.3 1.4");
    assert_eq!(outcome(&world, restart).unwrap(), "chat: 2 instances ready");
    let one = world.tell(AppCommand::Restart(Some(1)));
    world.calm_down();
    assert_eq!(live(&world), "0.3 1.5");
    assert_eq!(outcome(&world, one).unwrap(), "chat: instance 1 ready");
    assert!(!world.told().contains("Empty"));
}

#[test]
fn scaling_takes_the_next_slots_and_gives_up_the_highest() {
    let mut world = up(2);
    let more = world.tell(AppCommand::Scale(4));
    assert_eq!(live(&world), "0.1 1.2 2.3* 3.4*");
    world.calm_down();
    assert_eq!(outcome(&world, more).unwrap(), "chat: 4 instances ready");
    let fewer = world.tell(AppCommand::Scale(1));
    assert!(world.live.iter().all(|(id, process)| process.emptying.is_some() == (id.slot > 0)));
    world.calm_down();
    assert_eq!(live(&world), "0.1");
    assert_eq!(outcome(&world, fewer).unwrap(), "chat: 1 instance ready");
    assert_eq!(world.machine.look(world.now).instances.len(), 1);
}

#[test]
fn only_what_a_process_is_started_with_rolls_it() {
    let check = |change: &dyn Fn(&mut App), expected: &str| {
        let mut world = up(2);
        let mut app = app(2);
        change(&mut app);
        let ticket = world.tell(AppCommand::Change(Arc::new(app)));
        world.calm_down();
        assert_eq!(live(&world), expected);
        assert!(world.ended[&ticket].is_ok());
    };
    check(&|app| app.logs.files_max = 9, "0.1 1.2");
    check(&|app| app.restart.pause_min = Duration::from_secs(1), "0.1 1.2");
    check(&|app| app.instances = Instances::Count(NonZeroU32::new(3).unwrap()), "0.1 1.2 2.3");
    check(&|app| app.instances = Instances::Count(NonZeroU32::MIN), "0.1");
    check(&|app| app.command.push("--new".to_owned()), "0.3 1.4");
    check(&|app| drop(app.env.insert("A".to_owned(), "b".to_owned())), "0.3 1.4");
}

#[test]
fn a_number_that_was_scaled_stays_until_the_file_says_another() {
    let mut world = up(2);
    world.tell(AppCommand::Scale(3));
    world.calm_down();
    let mut changed = app(2);
    changed.command.push("--new".to_owned());
    world.tell(AppCommand::Change(Arc::new(changed)));
    world.calm_down();
    assert_eq!(live(&world), "0.4 1.5 2.6");
    world.tell(AppCommand::Change(Arc::new(app(1))));
    world.calm_down();
    assert_eq!(world.live.len(), 1);
}

#[test]
fn a_file_that_is_changed_back_before_anything_was_ready_ends_the_roll() {
    let mut world = up(2);
    let mut broken = app(2);
    broken.command.push("--broken".to_owned());
    let roll = world.tell(AppCommand::Change(Arc::new(broken)));
    world.started(config::roster::InstanceId { slot: 0, generation: 3 });
    world.tell(AppCommand::Change(Arc::new(app(2))));
    assert!(outcome(&world, roll).unwrap().contains("the file says again what it said before"));
    world.calm_down();
    assert_eq!((live(&world).as_str(), current(&world).as_str()), ("0.1 1.2", "0.1 1.2"));
}

#[test]
fn a_removed_app_is_emptied_and_may_come_back() {
    let mut world = up(1);
    let removed = world.tell(AppCommand::Remove);
    assert!(world.live[&world.only(0)].emptying.is_some());
    let refused = world.tell(AppCommand::Start);
    assert!(outcome(&world, refused).unwrap().contains("in the file no more"));
    world.tell(AppCommand::Change(Arc::new(app(2))));
    assert_eq!(outcome(&world, removed).unwrap(), "error: chat: started meanwhile");
    world.calm_down();
    assert_eq!(live(&world), "0.3 1.2");
    world.tell(AppCommand::Remove);
    world.calm_down();
    assert!(world.machine.is_gone() && world.machine.is_removed());
}

#[test]
fn three_samples_in_a_row_over_the_ceiling_replace_one_instance_after_the_other() {
    let mut world = up(2);
    let [first, second] = [world.only(0), world.only(1)];
    let sample = |world: &mut World, id, memory| world.step(Event::Sampled { id, memory });
    for memory in [MEMORY_MAX + 1, MEMORY_MAX + 1, MEMORY_MAX, MEMORY_MAX + 1, MEMORY_MAX + 1] {
        sample(&mut world, first, memory);
        sample(&mut world, second, memory);
    }
    assert_eq!(live(&world), "0.1 1.2");
    sample(&mut world, first, MEMORY_MAX + 1);
    sample(&mut world, second, MEMORY_MAX + 1);
    assert_eq!(live(&world), "0.1 0.3* 1.2");
    assert!(world.told().contains("holds 101 MiB of memory, memory_max is 100 MiB"));
    world.calm_down();
    assert_eq!(live(&world), "0.3 1.4");
    assert!(!world.told().contains("Kill"));
}

#[test]
fn a_replacement_that_fails_is_tried_again_after_a_pause() {
    let mut world = up(1);
    let id = world.only(0);
    let asked = world.tell(AppCommand::Replace(0));
    world.dies(config::roster::InstanceId { slot: 0, generation: 2 });
    assert!(outcome(&world, asked).unwrap().starts_with("error"));
    assert_eq!(world.only(0), id);
    world.pass(Duration::from_millis(100));
    assert_eq!(live(&world), "0.1 0.3*");
    world.calm_down();
    assert_eq!(live(&world), "0.3");
}

#[test]
fn when_tidelock_leaves_nothing_is_started_and_at_its_end_everything_goes() {
    let mut world = up(3);
    let roll = world.tell(AppCommand::Roll { window: None });
    world.step(Event::Leave);
    assert!(outcome(&world, roll).unwrap().contains("tidelock is leaving"));
    world.dies(world.only(2));
    world.pass(Duration::from_secs(100));
    assert_eq!(live(&world), "0.1 0.4* 1.2");
    let refused = world.tell(AppCommand::Start);
    assert_eq!(outcome(&world, refused).unwrap(), "error: chat: tidelock is leaving");
    world.end(false);
    assert!(world.live.values().all(|process| process.stopped.is_some() && process.emptying.is_none()));
    assert!(!world.machine.is_gone());
    world.calm_down();
    assert!(world.machine.is_gone());

    let mut world = up(1);
    world.end(true);
    assert!(world.told().contains("Kill"));
}
