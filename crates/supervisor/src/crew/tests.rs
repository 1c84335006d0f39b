//! What an app does when this and that happens to it, told event by event; and that some things never happen, whatever
//! does.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use config::app::{App, Instances};
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};

use super::world::{DRAIN, MEMORY_MAX, World, app};
use super::{Action, Event, Told};
use crate::status::InstanceState;

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
    world.crew.look(world.now).instances.into_iter().map(|instance| instance.state).collect()
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
    let seen = world.crew.look(world.now).instances.remove(0);
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
    world.tell(Told::Change(Arc::new(app)));
    assert_eq!(live(&world), "0.1", "how it is restarted is no reason to touch it");
    for _ in 0..2 {
        world.dies(world.only(0));
        assert!(world.pass_to_deadline());
    }
    world.dies(world.only(0));
    assert_eq!(states(&world), [InstanceState::GivenUp]);
    assert!(!world.pass_to_deadline());
    let more = world.tell(Told::Scale(2));
    assert!(outcome(&world, more).unwrap().contains("instance 0 was given up"), "nobody waits for it");
    world.tell(Told::Scale(1));
    world.calm_down();
    world.tell(Told::Start);
    assert_eq!(live(&world), "0.5*");
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
    let cause = world.crew.look(world.now).instances.remove(0).cause;
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
    let stop = world.tell(Told::Stop);
    assert!(world.live.values().all(|process| process.emptying.is_some() && process.stopped.is_none()));
    let first = world.only(0);
    world.emptied(first);
    assert!(world.live[&first].stopped.is_some());
    assert_eq!(current(&world), "0.1 1.2", "until they are gone their sessions may be there");
    let start = world.tell(Told::Start);
    assert_eq!(outcome(&world, stop).unwrap(), "error: chat: started meanwhile");
    world.dies(first);
    assert_eq!(live(&world), "0.3* 1.2");
    world.calm_down();
    assert_eq!(
        (live(&world).as_str(), outcome(&world, start).unwrap().as_str()),
        ("0.3 1.4", "chat: 2 instances ready")
    );
    let stop = world.tell(Told::Stop);
    world.calm_down();
    assert_eq!(live(&world), "");
    assert_eq!(outcome(&world, stop).unwrap(), "chat: stopped, nothing is left of it");
    assert_eq!(states(&world), [InstanceState::Stopped, InstanceState::Stopped]);
}

#[test]
fn what_is_not_empty_at_its_deadline_and_does_not_stop_at_its_own_is_killed() {
    let mut world = up(1);
    world.tell(Told::Stop);
    let id = world.only(0);
    world.now += DRAIN.deadline;
    world.step(Event::Emptied { id, left: Some("3 WebSockets".to_owned()) });
    world.pass(Duration::from_secs(30));
    assert!(world.told().contains("3 WebSockets left at the deadline") && world.told().contains("Kill"));
}

#[test]
fn a_restart_signals_all_at_once_and_empties_none() {
    let mut world = up(2);
    let restart = world.tell(Told::Restart(None));
    assert!(world.live.values().all(|process| process.stopped.is_some() && process.emptying.is_none()));
    world.calm_down();
    assert_eq!(live(&world), "0.3 1.4");
    assert_eq!(outcome(&world, restart).unwrap(), "chat: 2 instances ready");
    let one = world.tell(Told::Restart(Some(1)));
    world.calm_down();
    assert_eq!(live(&world), "0.3 1.5");
    assert_eq!(outcome(&world, one).unwrap(), "chat: instance 1 ready");
    assert!(!world.told().contains("Empty"));
}

#[test]
fn a_roll_replaces_one_after_the_other_each_in_its_slot() {
    let mut world = up(2);
    let roll = world.tell(Told::Roll { window: None });
    assert_eq!((live(&world).as_str(), current(&world).as_str()), ("0.1 0.3* 1.2", "0.1 1.2"));
    let [old, new] = [1, 3].map(|generation| config::roster::InstanceId { slot: 0, generation });
    world.ready(new);
    assert_eq!(current(&world), "0.3");
    assert!(world.live[&old].emptying.is_some() && world.live[&old].stopped.is_none());
    world.emptied(old);
    assert_eq!(live(&world), "0.1 0.3 1.2", "the next one comes when this one is gone");
    world.dies(old);
    assert_eq!(live(&world), "0.3 1.2 1.4*");
    world.calm_down();
    assert_eq!((live(&world).as_str(), current(&world).as_str()), ("0.3 1.4", "0.3 1.4"));
    assert_eq!(outcome(&world, roll).unwrap(), "chat: 2 instances replaced and ready");
}

#[test]
fn a_new_version_that_does_not_get_ready_ends_the_roll_and_the_old_ones_stay() {
    for is_ended in [true, false] {
        let mut world = up(2);
        let roll = world.tell(Told::Roll { window: None });
        let new = config::roster::InstanceId { slot: 0, generation: 3 };
        world.started(new);
        if is_ended {
            world.dies(new);
        } else {
            world.step(Event::NotReady { id: new, why: "it was not ready within 30s".to_owned() });
            assert!(world.live[&new].stopped.is_some());
        }
        let why = outcome(&world, roll).unwrap();
        assert!(
            why.starts_with("error: chat: the new chat/0: it was") && why.ends_with("the old instances stay"),
            "{why}"
        );
        world.calm_down();
        assert_eq!((live(&world).as_str(), current(&world).as_str()), ("0.1 1.2", "0.1 1.2"));
        assert!(world.crew.look(world.now).last_failure.contains("the new chat/0"));
    }
}

#[test]
fn a_roll_that_fails_in_its_midst_stays_there() {
    let mut world = up(3);
    let roll = world.tell(Told::Roll { window: None });
    let id = |slot, generation| config::roster::InstanceId { slot, generation };
    world.ready(id(0, 4));
    world.emptied(id(0, 1));
    world.dies(id(0, 1));
    world.dies(id(1, 5));
    assert!(outcome(&world, roll).unwrap().contains("1 of 3 instances are new, the others stay"));
    world.calm_down();
    assert_eq!((live(&world).as_str(), current(&world).as_str()), ("0.4 1.2 2.3", "0.4"));
    let again = world.tell(Told::Roll { window: None });
    world.calm_down();
    assert_eq!(
        (live(&world).as_str(), outcome(&world, again).unwrap().as_str()),
        ("0.6 1.7 2.8", "chat: 3 instances replaced and ready")
    );
}

#[test]
fn a_new_instance_that_falls_soon_after_it_was_ready_ends_the_roll() {
    let mut world = up(2);
    let roll = world.tell(Told::Roll { window: None });
    let id = |slot, generation| config::roster::InstanceId { slot, generation };
    world.ready(id(0, 3));
    world.dies(id(0, 3));
    assert!(
        outcome(&world, roll).unwrap().starts_with("error: chat: the new chat/0: it was ended by SIGKILL")
    );
    world.calm_down();
    assert_eq!(live(&world), "0.4 1.2");
}

#[test]
fn an_old_instance_that_falls_during_the_roll_is_not_waited_for() {
    let mut world = up(2);
    let roll = world.tell(Told::Roll { window: None });
    let id = |slot, generation| config::roster::InstanceId { slot, generation };
    world.dies(id(0, 1));
    world.pass(Duration::from_secs(1));
    assert_eq!(live(&world), "0.3* 1.2", "its successor is on its way");
    world.dies(id(1, 2));
    world.pass(Duration::from_secs(1));
    assert_eq!(live(&world), "0.3* 1.4*", "the roll has not come to this one");
    world.calm_down();
    assert_eq!((live(&world).as_str(), current(&world).as_str()), ("0.3 1.5", "0.3 1.5"));
    assert!(outcome(&world, roll).unwrap().ends_with("replaced and ready"));
}

#[test]
fn a_newer_roll_takes_the_place_of_an_older_one() {
    let mut world = up(2);
    let first = world.tell(Told::Roll { window: None });
    let second = world.tell(Told::Roll { window: None });
    assert_eq!(outcome(&world, first).unwrap(), "error: chat: a newer roll has taken its place");
    world.calm_down();
    assert_eq!(live(&world), "0.4 1.5", "generation 3 was never ready, and nobody waited for it");
    assert!(outcome(&world, second).unwrap().ends_with("replaced and ready"));
}

/// The windows that the old instances get when a roll has a budget, every start takes 5 s and every one uses its window.
fn windows(instances: u32, budget: u64) -> Vec<u64> {
    let mut world = up(instances);
    world.tell(Told::Roll { window: Some(Duration::from_secs(budget)) });
    let mut windows = Vec::new();
    while let Some(new) =
        world.live.iter().find(|(_, process)| process.ready_since.is_none()).map(|(id, _)| *id)
    {
        world.started(new);
        world.pass(Duration::from_secs(5));
        world.ready(new);
        let old = *world.live.iter().find(|(_, process)| process.emptying.is_some()).unwrap().0;
        let more = DRAIN.deadline - DRAIN.window;
        let window = world.live[&old].emptying.unwrap() - world.now - more;
        windows.push(window.as_secs());
        world.pass(window);
        world.emptied(old);
        world.dies(old);
    }
    windows
}

#[test]
fn a_window_is_the_budget_of_the_whole_roll() {
    // 4 starts of 5 s, and what is left of the minute in four parts.
    assert_eq!(windows(4, 60), [10, 10, 10, 10]);
    assert_eq!(windows(1, 60), [55]);
    assert_eq!(windows(2, 3), [0, 0], "nothing is left: they go as fast as they can");
}

#[test]
fn scaling_takes_the_next_slots_and_gives_up_the_highest() {
    let mut world = up(2);
    let more = world.tell(Told::Scale(4));
    assert_eq!(live(&world), "0.1 1.2 2.3* 3.4*");
    world.calm_down();
    assert_eq!(outcome(&world, more).unwrap(), "chat: 4 instances ready");
    let fewer = world.tell(Told::Scale(1));
    assert!(world.live.iter().all(|(id, process)| process.emptying.is_some() == (id.slot > 0)));
    world.calm_down();
    assert_eq!(live(&world), "0.1");
    assert_eq!(outcome(&world, fewer).unwrap(), "chat: 1 instance ready");
    assert_eq!(world.crew.look(world.now).instances.len(), 1);
}

#[test]
fn only_what_a_process_is_started_with_rolls_it() {
    let check = |change: &dyn Fn(&mut App), expected: &str| {
        let mut world = up(2);
        let mut app = app(2);
        change(&mut app);
        let ticket = world.tell(Told::Change(Arc::new(app)));
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
    world.tell(Told::Scale(3));
    world.calm_down();
    let mut changed = app(2);
    changed.command.push("--new".to_owned());
    world.tell(Told::Change(Arc::new(changed)));
    world.calm_down();
    assert_eq!(live(&world), "0.4 1.5 2.6");
    world.tell(Told::Change(Arc::new(app(1))));
    world.calm_down();
    assert_eq!(world.live.len(), 1);
}

#[test]
fn a_file_that_is_changed_back_before_anything_was_ready_ends_the_roll() {
    let mut world = up(2);
    let mut broken = app(2);
    broken.command.push("--broken".to_owned());
    let roll = world.tell(Told::Change(Arc::new(broken)));
    world.started(config::roster::InstanceId { slot: 0, generation: 3 });
    world.tell(Told::Change(Arc::new(app(2))));
    assert!(outcome(&world, roll).unwrap().contains("the file says again what it said before"));
    world.calm_down();
    assert_eq!((live(&world).as_str(), current(&world).as_str()), ("0.1 1.2", "0.1 1.2"));
}

#[test]
fn a_removed_app_is_emptied_and_may_come_back() {
    let mut world = up(1);
    let removed = world.tell(Told::Remove);
    assert!(world.live[&world.only(0)].emptying.is_some());
    let refused = world.tell(Told::Start);
    assert!(outcome(&world, refused).unwrap().contains("in the file no more"));
    world.tell(Told::Change(Arc::new(app(2))));
    assert_eq!(outcome(&world, removed).unwrap(), "error: chat: started meanwhile");
    world.calm_down();
    assert_eq!(live(&world), "0.3 1.2");
    world.tell(Told::Remove);
    world.calm_down();
    assert!(world.crew.is_gone() && world.crew.is_removed());
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
    let asked = world.tell(Told::Replace(0));
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
    let roll = world.tell(Told::Roll { window: None });
    world.step(Event::Leave);
    assert!(outcome(&world, roll).unwrap().contains("tidelock is leaving"));
    world.dies(world.only(2));
    world.pass(Duration::from_secs(100));
    assert_eq!(live(&world), "0.1 0.4* 1.2");
    let refused = world.tell(Told::Start);
    assert_eq!(outcome(&world, refused).unwrap(), "error: chat: tidelock is leaving");
    world.end(false);
    assert!(world.live.values().all(|process| process.stopped.is_some() && process.emptying.is_none()));
    assert!(!world.crew.is_gone());
    world.calm_down();
    assert!(world.crew.is_gone());

    let mut world = up(1);
    world.end(true);
    assert!(world.told().contains("Kill"));
}

/// Something that happens, to the process at this place in the list of those that live if it is about one.
#[derive(Debug, Clone)]
enum Op {
    Told(u8, u8),
    Started(usize),
    Ready(usize),
    NotReady(usize),
    Dies(usize),
    Emptied(usize),
    Full(usize),
    Pass(u16),
    ToDeadline,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (0..9_u8, 0..5_u8).prop_map(|(verb, number)| Op::Told(verb, number)),
        4 => any::<usize>().prop_map(Op::Started),
        6 => any::<usize>().prop_map(Op::Ready),
        1 => any::<usize>().prop_map(Op::NotReady),
        4 => any::<usize>().prop_map(Op::Dies),
        4 => any::<usize>().prop_map(Op::Emptied),
        2 => any::<usize>().prop_map(Op::Full),
        4 => any::<u16>().prop_map(Op::Pass),
        4 => proptest::strategy::Just(Op::ToDeadline),
    ];
    prop::collection::vec(op, 1..120)
}

fn happens(world: &mut World, op: &Op) {
    let ids: Vec<_> = world.live.keys().copied().collect();
    let one = |at: usize| ids.get(at % ids.len().max(1)).copied();
    match *op {
        Op::Told(verb, number) => {
            world.tell(match verb {
                0 => Told::Start,
                1 => Told::Stop,
                2 => Told::Restart(None),
                3 => Told::Restart(Some(u32::from(number))),
                4 => Told::Scale(u32::from(number).max(1)),
                5 => Told::Replace(u32::from(number)),
                6 => {
                    let mut app = app(u32::from(number).max(1));
                    app.restart.max = (number == 4).then_some(2);
                    app.env.insert("VERSION".to_owned(), (number / 2).to_string());
                    Told::Change(Arc::new(app))
                }
                _ => Told::Roll { window: (number > 2).then_some(Duration::from_secs(60)) },
            });
        }
        Op::Started(at) => drop(one(at).map(|id| world.started(id))),
        Op::Ready(at) => drop(one(at).map(|id| world.ready(id))),
        Op::NotReady(at) => drop(one(at).map(|id| {
            world.started(id);
            world.step(Event::NotReady { id, why: "it was slow".to_owned() });
        })),
        Op::Dies(at) => drop(one(at).map(|id| world.dies(id))),
        Op::Emptied(at) => drop(one(at).map(|id| world.emptied(id))),
        Op::Full(at) => drop(one(at).map(|id| {
            (0..3).for_each(|_| world.step(Event::Sampled { id, memory: MEMORY_MAX * 2 }));
        })),
        Op::Pass(millis) => world.pass(Duration::from_millis(u64::from(millis))),
        Op::ToDeadline => drop(world.pass_to_deadline()),
    }
}

proptest! {
    /// Whatever happens in whatever order: `World` sees to it that no instance is lost, doubled or stopped without its
    /// drain, and that no start comes before its pause. In the end what is wanted is there, and nothing else.
    #[test]
    fn no_order_of_events_loses_doubles_or_cuts_an_instance(ops in ops(), instances in 1..4_u32, seed in any::<u64>()) {
        let mut world = World::new(app(instances), seed);
        for op in &ops {
            happens(&mut world, op);
        }
        world.calm_down();
        let seen = world.crew.look(world.now);
        let is_stopped = seen.state == crate::status::AppState::Stopped;
        let expected = |state| matches!(state, InstanceState::Ready | InstanceState::GivenUp) && !is_stopped
            || state == InstanceState::Stopped && is_stopped;
        assert!(seen.instances.iter().all(|instance| expected(instance.state)), "{seen:?}\n{}", world.told());
        let slots: Vec<u32> = seen.instances.iter().map(|instance| instance.id.slot).collect();
        assert_eq!(slots, (0..seen.wanted).collect::<Vec<_>>(), "{seen:?}\n{}", world.told());
        let unended: Vec<u64> = (1..=world.tickets).filter(|ticket| !world.ended.contains_key(ticket)).collect();
        assert!(unended.is_empty(), "{unended:?}\n{}", world.told());
    }
}

#[test]
fn a_publish_comes_before_the_emptying_that_depends_on_it() {
    let mut world = up(1);
    world.tell(Told::Roll { window: None });
    let new = config::roster::InstanceId { slot: 0, generation: 2 };
    world.started(new);
    let actions = world.crew.step(Event::Ready(new), world.now, &mut fastrand::Rng::with_seed(1));
    let at = |wanted: fn(&Action) -> bool| actions.iter().position(wanted).unwrap();
    assert!(
        at(|action| matches!(action, Action::Publish(_)))
            < at(|action| matches!(action, Action::Empty { .. }))
    );
}
