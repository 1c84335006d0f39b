//! An app under one tidelock after the other.

use std::time::Duration;

use super::super::AppCommand;
use super::super::world::app;
use super::{current, live, up};

#[test]
fn what_runs_goes_on_and_the_next_has_a_generation_of_its_own() {
    let mut world = up(2);
    world.tell(AppCommand::Scale(3));
    world.calm_down();
    world.upgrade(app(2)).expect("nothing is under way");
    assert_eq!((live(&world).as_str(), current(&world).as_str()), ("0.1 1.2 2.3", "0.1 1.2 2.3"));
    world.dies(world.only(1));
    world.calm_down();
    assert_eq!(current(&world), "0.1 1.4 2.3");
    // Twice is as once.
    world.upgrade(app(2)).expect("nothing is under way");
    assert_eq!(current(&world), "0.1 1.4 2.3");
}

#[test]
fn one_that_waits_for_its_next_start_gets_it() {
    let mut world = up(2);
    world.dies(world.only(0));
    world.upgrade(app(2)).expect("nothing is under way");
    assert_eq!(live(&world), "1.2");
    world.pass(Duration::from_secs(1));
    assert_eq!(live(&world), "0.3* 1.2");
}

#[test]
fn what_is_stopped_stays_so_until_somebody_starts_it() {
    let mut world = up(2);
    world.tell(AppCommand::Stop);
    world.calm_down();
    world.upgrade(app(2)).expect("nothing is under way");
    world.pass(Duration::from_secs(60));
    assert_eq!(live(&world), "");
    world.tell(AppCommand::Start);
    world.calm_down();
    assert_eq!(current(&world), "0.3 1.4");
}

#[test]
fn an_app_that_is_another_by_now_is_rolled() {
    let mut world = up(2);
    let mut changed = app(2);
    changed.env.insert("A".to_owned(), "b".to_owned());
    world.upgrade(changed).expect("nothing is under way");
    world.calm_down();
    assert_eq!(current(&world), "0.3 1.4");
}

#[test]
fn what_is_under_way_has_to_end_before() {
    let mut world = up(2);
    world.tell(AppCommand::Roll { window: None });
    assert_eq!(world.upgrade(app(2)), Err("chat is being rolled".to_owned()));
    world.calm_down();
    world.tell(AppCommand::Scale(1));
    let why = world.upgrade(app(2)).expect_err("one of them leaves");
    assert!(why.ends_with("is being stopped"), "{why}");
    world.calm_down();
    world.upgrade(app(2)).expect("nothing is under way");
}
