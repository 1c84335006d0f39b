//! How an app is replaced while it serves.

use std::time::Duration;

use super::super::world::DRAIN;
use super::super::{Action, AppCommand, Event};
use super::{current, live, outcome, up};

#[test]
fn a_roll_replaces_one_after_the_other_each_in_its_slot() {
    let mut world = up(2);
    let roll = world.tell(AppCommand::Roll { window: None });
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
        let roll = world.tell(AppCommand::Roll { window: None });
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
        assert!(world.machine.look(world.now).last_failure.contains("the new chat/0"));
    }
}

/// Whoever has asked for one instance alone would wait for ever otherwise.
#[test]
fn what_is_to_be_replaced_is_replaced_after_a_roll_that_fails() {
    let mut world = up(2);
    let id = |slot, generation| config::roster::InstanceId { slot, generation };
    let replace = world.tell(AppCommand::Replace(1));
    assert_eq!(live(&world), "0.1 1.2 1.3*");
    let roll = world.tell(AppCommand::Roll { window: None });
    world.dies(id(1, 3));
    assert_eq!(live(&world), "0.1 0.4* 1.2", "the roll begins anew");
    world.dies(id(0, 4));
    assert!(outcome(&world, roll).unwrap().contains("the old instances stay"));
    assert_eq!(outcome(&world, replace), None);
    world.calm_down();
    assert_eq!((live(&world).as_str(), current(&world).as_str()), ("0.1 1.5", "0.1 1.5"));
    assert_eq!(outcome(&world, replace).unwrap(), "chat: instance 1 ready");
}

#[test]
fn a_roll_that_fails_in_its_midst_stays_there() {
    let mut world = up(3);
    let roll = world.tell(AppCommand::Roll { window: None });
    let id = |slot, generation| config::roster::InstanceId { slot, generation };
    world.ready(id(0, 4));
    world.emptied(id(0, 1));
    world.dies(id(0, 1));
    world.dies(id(1, 5));
    assert!(outcome(&world, roll).unwrap().contains("new instances: 1 of 3, the others stay"));
    world.calm_down();
    assert_eq!((live(&world).as_str(), current(&world).as_str()), ("0.4 1.2 2.3", "0.4"));
    let again = world.tell(AppCommand::Roll { window: None });
    world.calm_down();
    assert_eq!(
        (live(&world).as_str(), outcome(&world, again).unwrap().as_str()),
        ("0.6 1.7 2.8", "chat: 3 instances replaced and ready")
    );
}

#[test]
fn a_new_instance_that_falls_soon_after_it_was_ready_ends_the_roll() {
    let mut world = up(2);
    let roll = world.tell(AppCommand::Roll { window: None });
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
    let roll = world.tell(AppCommand::Roll { window: None });
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
    let first = world.tell(AppCommand::Roll { window: None });
    let second = world.tell(AppCommand::Roll { window: None });
    assert_eq!(outcome(&world, first).unwrap(), "error: chat: a newer roll has taken its place");
    world.calm_down();
    assert_eq!(live(&world), "0.4 1.5", "generation 3 was never ready, and nobody waited for it");
    assert!(outcome(&world, second).unwrap().ends_with("replaced and ready"));
}

/// The windows that the old instances get when a roll has a budget, every start takes 5 s and every one uses its window.
fn windows(instances: u32, budget: u64) -> Vec<u64> {
    let mut world = up(instances);
    world.tell(AppCommand::Roll { window: Some(Duration::from_secs(budget)) });
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
fn a_publish_comes_before_the_emptying_that_depends_on_it() {
    let mut world = up(1);
    world.tell(AppCommand::Roll { window: None });
    let new = config::roster::InstanceId { slot: 0, generation: 2 };
    world.started(new);
    let actions = world.machine.step(Event::Ready(new), world.now, &mut fastrand::Rng::with_seed(1));
    let at = |wanted: fn(&Action) -> bool| actions.iter().position(wanted).unwrap();
    assert!(
        at(|action| matches!(action, Action::Publish { .. }))
            < at(|action| matches!(action, Action::Empty { .. }))
    );
}
